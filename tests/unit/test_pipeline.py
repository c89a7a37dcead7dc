"""dvc.yaml against the code: modules, sections, files, and the import rules."""

import ast
import importlib
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from project_imports import ROOT, direct_imports, project_files
from ruamel.yaml import YAML

from stages.__main__ import RATINGS_STAGES, STAGES, VISION_STAGES
from stages.recipe import SECTIONS, is_of_ratings, read_recipes
from thaw.params.base import RESERVED

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
    assert tuple(PIPELINE) == STAGES
    for stage in STAGES:
        of = {name for name, stages in GROUPS.items() if stage in stages}
        group = "recipes" if len(of) == 2 else of.pop()
        assert PIPELINE[stage]["foreach"] == f"${{{group}}}"
        assert PIPELINE[stage]["do"]["cmd"] == f"python -m stages {stage} ${{key}}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_modules_that_it_imports(stage: str) -> None:
    listed = {dep for dep in PIPELINE[stage]["do"]["deps"] if dep.endswith(".py")}
    imported = project_files(Path("stages", f"{stage}.py"), leave_out=("thaw.samples",))
    assert listed == {str(path) for path in imported}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_tracks_the_sections_that_it_reads(stage: str) -> None:
    read = [field.name for field in fields(importlib.import_module(f"stages.{stage}").Params)]
    tracked = PIPELINE[stage]["do"].get("params", [])
    assert tracked == [f"recipes.${{key}}.{section}" for section in read]


def test_every_section_is_read_by_some_stage() -> None:
    modules = [importlib.import_module(f"stages.{stage}") for stage in STAGES]
    assert {field.name for module in modules for field in fields(module.Params)} == set(SECTIONS)


def test_a_stage_depends_on_the_files_that_it_needs_from_others() -> None:
    made = {}
    for group, stages in GROUPS.items():
        for stage in stages:
            do = PIPELINE[stage]["do"]
            for kind in ("outs", "metrics", "plots"):
                made |= dict.fromkeys([(group, out) for out in names(do.get(kind, []))], stage)
    for group, stage in [(group, stage) for group, stages in GROUPS.items() for stage in stages]:
        needed = [d for d in PIPELINE[stage]["do"]["deps"] if not d.endswith(".py")]
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


def test_all_recipes_pass_the_check() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stages", "check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert all(recipe in done.stdout for recipe in read_recipes(ROOT / "params.yaml"))


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
    done = subprocess.run(
        [sys.executable, "-m", "stages", "check"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", PYTHON_FILES, ids=str)
def test_imports_point_one_way(file: Path) -> None:
    forbidden = {
        "thaw": {"stages", "pipelines", "dvc", "prefect", "mlflow", "yaml", "ruamel"},
        "stages": {"pipelines", "dvc", "prefect", "mlflow"},
        "pipelines": {"torch", "torchvision"},
    }[file.parts[0]]
    assert not {name.split(".")[0] for name in direct_imports(file)} & forbidden


@pytest.mark.parametrize(
    "stage", ["download", "untar", "split", "pack", "threshold", "evaluate", "interpret"]
)
def test_light_stages_never_reach_torch(stage: str) -> None:
    for file in project_files(Path("stages", f"{stage}.py")):
        assert not {name.split(".")[0] for name in direct_imports(file)} & {"torch", "torchvision"}


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
