"""dvc.yaml against the code: modules, sections, files, and the import rules."""

import ast
import importlib
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml
from ruamel.yaml import YAML

from stages.check import RATINGS_STAGES, STAGES, VISION_STAGES
from stages.code import FOLDER, direct_imports, imported_files
from stages.recipe import SECTIONS, is_of_ratings, read_recipes, shared_sections
from stages.training import FEATURE_MODULES
from thaw.core.errors import UserError
from thaw.params.base import RESERVED

ROOT = Path(__file__).parents[2]
REPORT = "report"
OWN_STAGES = tuple(stage for stage in STAGES if stage != REPORT)  # that name what they read
YAML_FILE = YAML(typ="safe", pure=True)
PIPELINE = YAML_FILE.load((ROOT / "dvc.yaml").read_text())["stages"]
GROUPS = {"images": VISION_STAGES, "ratings": RATINGS_STAGES}
PYTHON_FILES = sorted(
    path.relative_to(ROOT)
    for package in ("thaw", "stages", "pipelines")
    for path in (ROOT / package).rglob("*.py")
)


def names(entries: list) -> set[str]:
    """The paths of a list of outputs, whose entries may carry options."""
    return {next(iter(e)) if isinstance(e, dict) else e for e in entries}


def test_every_stage_is_in_the_pipeline_under_its_own_name() -> None:
    assert tuple(PIPELINE) == ("code", *STAGES, "record")
    assert PIPELINE["record"]["do"]["cmd"] == "python -m pipelines.record ${key}"
    for stage in STAGES:
        of = {name for name, stages in GROUPS.items() if stage in stages}
        group = "recipes" if len(of) == 2 else of.pop()
        assert PIPELINE[stage]["foreach"] == f"${{{group}}}"
        assert PIPELINE[stage]["do"]["cmd"] == f"python -m stages {stage} ${{key}}"


def test_the_report_depends_on_all_parameters() -> None:
    # It shows what stages of one kind of recipes made, which it cannot name.
    assert PIPELINE[REPORT]["do"]["params"] == ["recipes.${key}"]
    shown = {field.name for field in fields(importlib.import_module("stages.report").Params)}
    assert shown == set(SECTIONS)


@pytest.mark.parametrize("stage", [*STAGES, "record"])
def test_a_stage_depends_on_its_code_and_names_no_module(stage: str) -> None:
    deps = PIPELINE[stage]["do"]["deps"]
    assert [dep for dep in deps if "${" not in dep] == [str(FOLDER / f"{stage}.txt")]
    assert PIPELINE["code"]["deps"] == ["stages", "thaw"]
    assert PIPELINE["code"]["outs"] == [str(FOLDER)]


@pytest.mark.parametrize("stage", OWN_STAGES)
def test_a_stage_tracks_the_sections_that_it_reads(stage: str) -> None:
    read = [field.name for field in fields(importlib.import_module(f"stages.{stage}").Params)]
    tracked = PIPELINE[stage]["do"].get("params", [])
    assert tracked == [f"recipes.${{key}}.{section}" for section in read]


def test_every_section_is_read_by_some_stage() -> None:
    modules = [importlib.import_module(f"stages.{stage}") for stage in OWN_STAGES]
    assert {field.name for module in modules for field in fields(module.Params)} == set(SECTIONS)


def test_a_stage_depends_on_the_files_that_it_needs_from_others() -> None:
    made = {}
    for group, stages in GROUPS.items():
        for stage in stages:
            do = PIPELINE[stage]["do"]
            for kind in ("outs", "metrics", "plots"):
                outs = names(do.get(kind, []))
                folders = [
                    f"results/${{key}}/{out.split('/')[2]}" for out in outs if "results" in out
                ]
                made |= dict.fromkeys([(group, path) for path in [*outs, *folders]], stage)
    for group, stage in [(group, stage) for group, stages in GROUPS.items() for stage in stages]:
        needed = [dep for dep in PIPELINE[stage]["do"]["deps"] if "${" in dep]
        for path in needed:
            assert (group, path) in made or path == "${item.weights.after}", (stage, path)
    assert not any(dep == "data/${key}/items.parquet" for dep in PIPELINE["pack"]["do"]["deps"])


def test_params_yaml_has_no_key_that_dvc_ignores() -> None:
    def keys(node: object) -> set[str]:
        if isinstance(node, dict):
            return set(node) | {k for value in node.values() for k in keys(value)}
        if isinstance(node, list):
            return {k for value in node for k in keys(value)}
        return set()

    assert not keys(YAML_FILE.load((ROOT / "params.yaml").read_text())) & set(RESERVED)


def test_dvc_reads_the_parameters_as_the_stages_do() -> None:
    assert load_yaml(ROOT / "params.yaml")["recipes"] == read_recipes(ROOT / "params.yaml")


def test_no_two_recipes_share_a_section() -> None:
    # DVC merges recipe after recipe: the last of those who share one would set it back.
    assert shared_sections(read_recipes(ROOT / "params.yaml")) == []
    shared = {"epochs": 3}
    found = shared_sections({"a": {"seed": 1, "fit": shared}, "b": {"seed": 1, "fit": shared}})
    assert found == ["a.fit, b.fit"]


@pytest.mark.parametrize("recipe", ["source_sample", "dogscats_sample", "movielens_sample"])
def test_an_override_changes_one_value_and_no_other(tmp_path: Path, recipe: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text((ROOT / "params.yaml").read_text())
    before = read_recipes(file)
    section = "fit" if recipe == "movielens_sample" else "fit_unfrozen"
    apply_overrides(file, [f"recipes.{recipe}.{section}.epochs=77", f"recipes.{recipe}.seed=5"])
    before[recipe][section]["epochs"], before[recipe]["seed"] = 77, 5
    assert load_yaml(file)["recipes"] == read_recipes(file) == before
    published = YAML_FILE.load((ROOT / "params.yaml").read_text())["published"]
    assert all(f"{name}: &{name}\n" in file.read_text() for name in published)


def run_check(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m stages check` on the params.yaml of a folder."""
    return subprocess.run(
        [sys.executable, "-m", "stages", "check"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_all_recipes_pass_the_check() -> None:
    done = run_check(ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"9 recipes checked: {', '.join(read_recipes(ROOT / 'params.yaml'))}"
    ]


def checked(folder: Path, content: object) -> str:
    """What `check` says against another params.yaml."""
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "params.yaml").write_text(text, encoding="latin-1")
    done = run_check(folder)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_check_finds_a_sample_that_does_not_exist(tmp_path: Path) -> None:
    recipe = read_recipes(ROOT / "params.yaml")["pets_sample"]
    recipe["download"] = {"url": "sample:pest"}
    said = checked(tmp_path, {"images": {"a": recipe}, "recipes": {"a": recipe}})
    assert "recipes.a.download.url: sample 'pest' does not exist; did you mean 'pets'?" in said


def from_model_of(other: str) -> dict[str, str]:
    """Weights that another recipe trains."""
    return dict.fromkeys(("source", "after"), f"models/{other}/model.safetensors")


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({"source": "none"}, "recipes.a.weights.after: missing. Add `after: *nothing`"),
        (from_model_of("aa"), "recipes.a.weights.source: there is no recipe 'aa'; did you mean"),
        (from_model_of("a"), "recipes.a.weights.source: the model is made of itself"),
        (from_model_of("b"), "recipes.a.weights.source: the model is made of itself"),
    ],
    ids=["nothing to make first", "an unknown recipe", "itself", "a circle"],
)
def test_the_check_finds_weights_that_dvc_could_not_make(
    tmp_path: Path, weights: dict, problem: str
) -> None:
    recipe = read_recipes(ROOT / "params.yaml")["pets_sample"]
    recipes = {"a": recipe | {"weights": weights}, "b": recipe | {"weights": from_model_of("a")}}
    assert problem in checked(tmp_path, {"images": recipes, "recipes": recipes})


@pytest.mark.parametrize("name", ["flow ers", "a/../../x", "-f", ".a", "a.b", "a@b", "ä", "1"])
def test_the_check_finds_names_that_are_no_names_of_folders(tmp_path: Path, name: str) -> None:
    recipe = dict(read_recipes(ROOT / "params.yaml")["source_sample"])
    content = json.dumps({"images": {name: recipe}, "recipes": {name: recipe}})
    said = checked(tmp_path, content.replace('"1":', "1:"))
    assert "a name is made of letters, digits" in said


def test_the_check_finds_a_name_that_is_taken(tmp_path: Path) -> None:
    recipe = dict(read_recipes(ROOT / "params.yaml")["source_sample"])
    said = checked(tmp_path, {"images": {"sweeps": recipe}, "recipes": {"sweeps": recipe}})
    assert "results/sweeps is for tables of sweeps. Take another name." in said


def test_the_check_mentions_what_is_odd_but_legal(tmp_path: Path) -> None:
    recipe = read_recipes(ROOT / "params.yaml")["pets_sample"]
    recipe["threads"], recipe["data"]["presize"] = 1000, 32
    recipe["weights"] = {"source": "none", "after": "stages/weights.py"}
    content = {"images": {"a": recipe}, "recipes": {"a": recipe}}
    (tmp_path / "params.yaml").write_text(json.dumps(content))
    said = run_check(tmp_path).stdout
    assert "recipes.a.threads: 1000 is more than this machine's" in said
    assert "recipes.a.data.presize: 32 is less than augment.image_side 40" in said
    assert "1 recipe checked: a" in said


def test_the_check_tells_all_mistakes_of_all_kinds(tmp_path: Path) -> None:
    odd = {"lr_frozen": {"steps": 0}, "fit_frozen": {"epochs": -1, "lr": "auto"}, "fti": {}}
    odd |= {"fit": {"epochs": 1, "lr": 0.1}, "seed": "x"}
    said = checked(tmp_path, {"recipes": {"odd": odd}})
    for problem in (
        "recipes.odd: is not run. Move it below 'images:'",
        "recipes.odd.fti: unknown section",
        "recipes.odd.fit: no section of a recipe of images",
        "recipes.odd.fit_frozen.lr: 'auto' is the choice of a test that lr_frozen.steps: 0",
        "recipes.odd.fit_frozen.epochs",
        "recipes.odd.seed",
        "recipes.odd.download: missing",
    ):
        assert problem in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"recipes": {"a": 5}}, "recipes.a must be sections"),
        ({"recipes": ["a"]}, "'recipes:' is missing or has no recipes"),
        ({"images": 5, "recipes": {"a": {}}}, "'images:' is missing or has no recipes"),
        ("recipes: {a: 'é'}", "params.yaml is no YAML in UTF-8"),
        ("recipes: {a: '\x07'}", "params.yaml is no YAML in UTF-8"),
    ],
)
def test_what_is_no_parameters_file_is_refused(
    tmp_path: Path, content: object, message: str
) -> None:
    assert message in checked(tmp_path, content)


def test_a_params_file_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(UserError, match=r"params.yaml cannot be read: Is a directory\."):
        read_recipes(tmp_path / "params.yaml")


def test_cached_features_depend_on_all_that_makes_them() -> None:
    makers = [Path("thaw/vision/features.py"), Path("thaw/training/batches.py")]
    reached = {file for maker in makers for file in imported_files(ROOT, maker)}
    named = {Path(*module.split(".")).with_suffix(".py") for module in FEATURE_MODULES}
    # Settings are part of the key by their values, packed pixels by their bytes.
    outside = {Path("thaw/core", f"{name}.py") for name in ("errors", "files", "progress")}
    outside |= {Path("thaw", f"{name}.py") for name in ("bands", "images", "tiff")}
    assert {f for f in reached if "params" not in f.parts} - outside <= named


def test_published_recipes_are_recipes_too(tmp_path: Path) -> None:
    content = YAML_FILE.load((ROOT / "params.yaml").read_text())
    recipes = content["published"]
    ratings = {name: recipe for name, recipe in recipes.items() if is_of_ratings(recipe)}
    images = {name: recipe for name, recipe in recipes.items() if name not in ratings}
    assert set(recipes) == {
        "pets", "dogscats", "bears", "pascal", "biwi", "bears_several", "movielens",
    }  # fmt: skip
    with (tmp_path / "params.yaml").open("w") as file:
        YAML().dump({"images": images, "ratings": ratings, "recipes": recipes}, file)
    done = run_check(tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", PYTHON_FILES, ids=str)
def test_imports_point_one_way(file: Path) -> None:
    forbidden = {
        "thaw": {"stages", "pipelines", "dvc", "prefect", "mlflow", "yaml", "ruamel"},
        "stages": {"pipelines", "dvc", "prefect", "mlflow"},
        "pipelines": {"torch", "torchvision"},
    }[file.parts[0]]
    assert not {name.split(".")[0] for name in direct_imports(ROOT / file)} & forbidden


@pytest.mark.parametrize(
    "stage",
    [
        "download",
        "untar",
        "split",
        "pack",
        "threshold",
        "evaluate",
        "interpret",
        "interpret_ratings",
        "report",
    ],
)
def test_light_stages_never_reach_torch(stage: str) -> None:
    for file in imported_files(ROOT, Path("stages", f"{stage}.py")):
        roots = {name.split(".")[0] for name in direct_imports(ROOT / file)}
        assert not roots & {"torch", "torchvision"}


def test_pipelines_never_load_torch() -> None:
    modules = [".".join(f.with_suffix("").parts) for f in PYTHON_FILES if f.parts[0] == "pipelines"]
    code = f"import sys, importlib; [importlib.import_module(m) for m in {modules}]; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_packages_hold_nothing_but_a_docstring() -> None:
    for file in PYTHON_FILES:
        if file.name == "__init__.py":
            body = ast.parse((ROOT / file).read_text()).body
            assert all(isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for n in body)
