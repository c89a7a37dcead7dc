"""The training stages through `python -m stages`, on tiny data."""

import copy
import functools
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from project import Project, tiny_recipe
from safetensors import safe_open

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe(shapes_archive: Path) -> dict:
    return tiny_recipe(shapes_archive)


@pytest.fixture(scope="module")
def prepared(new_project: Callable[[], Project], recipe: dict) -> Project:
    """A project with data and random weights in place, and nothing trained."""
    project = new_project()
    project.write_recipes({"tiny": recipe})
    for stage in ("download", "untar", "weights", "split", "pack"):
        project.stage(stage, "tiny")
    return project


def refused(project: Project, stage: str, recipe: dict, name: str = "tiny") -> str:
    """Run a stage that must end with a message for the user; return the message."""
    project.write_recipes({name: recipe})
    done = project.stage(stage, name, ok=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_stage_whose_inputs_are_missing_says_how_to_get_them(
    new_project: Callable[[], Project], recipe: dict
) -> None:
    message = refused(
        new_project(), "fit_frozen", recipe | {"fit_frozen": {"epochs": 1, "lr": 0.1}}
    )
    assert "data/tiny/vocab.json is missing" in message
    assert "dvc repro fit_frozen@tiny" in message


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("split", "data/tiny/raw"),
        ("pack", "data/tiny/raw"),
        ("evaluate", "results/tiny/predictions.parquet"),
    ],
)
def test_whatever_is_missing_is_named(
    new_project: Callable[[], Project], recipe: dict, stage: str, missing: str
) -> None:
    project = new_project()
    for file in ("data/tiny/vocab.json", "results/tiny/epochs.csv"):
        (project.folder / file).parent.mkdir(parents=True)
        (project.folder / file).write_text("[]")
    assert f"{missing} is missing. Let DVC make" in refused(project, stage, recipe)


def test_missing_weights_are_named(prepared: Project, recipe: dict) -> None:
    pretrained = prepared.folder / "models/tiny/pretrained.safetensors"
    away = pretrained.rename(pretrained.with_suffix(".away"))
    first, second = (refused(prepared, stage, recipe) for stage in ("lr_frozen", "lr_unfrozen"))
    away.rename(pretrained)
    assert "models/tiny/pretrained.safetensors is missing. Let DVC make" in first
    assert "models/tiny/frozen.safetensors is missing. Let DVC make" in second
    assert "dvc repro lr_unfrozen@tiny" in second


def test_a_broken_table_is_named(prepared: Project, recipe: dict) -> None:
    items = prepared.folder / "data/tiny/items.parquet"
    whole = items.read_bytes()
    items.write_bytes(whole[: len(whole) // 2])
    message = refused(prepared, "fit_frozen", recipe | {"fit_frozen": {"epochs": 1, "lr": 0.1}})
    items.write_bytes(whole)
    assert "data/tiny/items.parquet cannot be read as Parquet" in message


def test_weights_that_are_not_there_are_named(
    new_project: Callable[[], Project], recipe: dict
) -> None:
    weights = {"source": "nowhere/resnet18-f37072fd.pth", "after": "stages/weights.py"}
    message = refused(new_project(), "weights", recipe | {"weights": weights})
    assert "recipes.tiny.weights.source: there is no file nowhere/resnet18-f37072fd.pth" in message


def test_auto_without_a_test_is_refused_with_the_reason(prepared: Project, recipe: dict) -> None:
    changed = copy.deepcopy(recipe)
    changed["lr_frozen"] = {"steps": 0}
    changed["fit_frozen"]["lr"] = "auto"
    prepared.write_recipes({"tiny": changed})
    prepared.stage("lr_frozen", "tiny")
    curve = prepared.folder / "results/tiny/lr_frozen/curve.csv"
    assert curve.read_text() == "lr,loss,smoothed\n"
    message = refused(prepared, "fit_frozen", changed)
    assert "fit_frozen.lr is 'auto'" in message
    assert "the test was left out" in message


def test_a_range_for_classes_is_refused(prepared: Project, recipe: dict) -> None:
    model = recipe["model"] | {"y_range": [-1.0, 1.0]}
    message = refused(prepared, "lr_frozen", recipe | {"model": model})
    assert "recipes.tiny.model.y_range: [-1.0, 1.0] is for points" in message


def test_cached_views_of_a_body_that_changes_are_refused(prepared: Project, recipe: dict) -> None:
    changed = copy.deepcopy(recipe)
    changed["model"]["train_bn"] = True
    message = refused(prepared, "lr_frozen", changed)
    assert "augment.views is 2, but with model.train_bn: true" in message


def test_every_problem_is_told_at_once(prepared: Project, recipe: dict) -> None:
    changed = copy.deepcopy(recipe)
    changed["fit_frozen"] = {"epochz": 3, "lr": "1e-3", "batch_size": 1}
    changed["model"]["dropout"] = 1.5
    message = refused(prepared, "fit_frozen", changed)
    for part in (
        "recipes.tiny.fit_frozen.epochz: unknown key; did you mean 'epochs'?",
        "recipes.tiny.fit_frozen.lr",
        "recipes.tiny.fit_frozen.batch_size",
        "recipes.tiny.model.dropout",
    ):
        assert part in message


def test_an_unknown_recipe_and_section_are_named(prepared: Project, recipe: dict) -> None:
    assert "did you mean 'tiny'" in refused_recipe(prepared, recipe, "tinny")
    changed = recipe | {"fit_frosen": {}}
    assert "fit_frosen: unknown section; did you mean 'fit_frozen'?" in refused(
        prepared, "lr_frozen", changed
    )


def refused_recipe(project: Project, recipe: dict, wrong: str) -> str:
    project.write_recipes({"tiny": recipe})
    done = project.stage("split", wrong, ok=False)
    assert done.returncode == 1
    return done.stderr


def test_an_unknown_architecture_is_named(prepared: Project, recipe: dict) -> None:
    changed = copy.deepcopy(recipe)
    changed["model"]["arch"] = "resnet43"
    assert "did you mean 'resnet34'" in refused(prepared, "weights", changed)


def test_no_epochs_leave_headers_and_the_weights_as_they_were(
    prepared: Project, recipe: dict
) -> None:
    changed = copy.deepcopy(recipe)
    changed["lr_frozen"] = changed["lr_unfrozen"] = {"steps": 0}
    changed["fit_frozen"] |= {"epochs": 0}
    changed["fit_unfrozen"] |= {"epochs": 0}
    prepared.write_recipes({"tiny": changed})
    for stage in ("lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "evaluate"):
        prepared.stage(stage, "tiny")
    results, models = prepared.folder / "results/tiny", prepared.folder / "models/tiny"
    header = "epoch,train_loss,valid_loss,error_rate,lr\n"
    assert (results / "fit_frozen/history.csv").read_text() == header
    assert (results / "fit_unfrozen/batches.csv").read_text() == "step,loss,lr,momentum\n"
    assert (
        (results / "epochs.csv")
        .read_text()
        .startswith("fit,lr_early,lr_late,lr_head,epoch,train_loss,")
    )
    assert json.loads((results / "evaluate/diagnosis.json").read_text()) == {}
    body = tensors(models / "pretrained.safetensors")
    final = tensors(models / "model.safetensors")
    assert all((final[f"body.{name}"] == value).all() for name, value in body.items())
    assert len(pd.read_parquet(results / "predictions.parquet")) == 12


def test_batch_norms_in_eval_mode_never_move(prepared: Project, recipe: dict) -> None:
    changed = copy.deepcopy(recipe)
    changed["lr_frozen"] = changed["lr_unfrozen"] = {"steps": 0}
    changed["fit_frozen"]["epochs"] = changed["fit_unfrozen"]["epochs"] = 1
    prepared.write_recipes({"tiny": changed})
    for stage in ("lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen"):
        prepared.stage(stage, "tiny")
    before = tensors(prepared.folder / "models/tiny/pretrained.safetensors")
    after = tensors(prepared.folder / "models/tiny/model.safetensors")
    statistics = [name for name in before if name.endswith(("running_mean", "running_var"))]
    assert statistics
    assert all((after[f"body.{name}"] == before[name]).all() for name in statistics)
    moved = [n for n in before if (after[f"body.{n}"] != before[n]).any()]
    assert any(name.endswith("conv1.0.weight") for name in moved), "the first layer trains too"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_as_well(prepared: Project, recipe: dict, precision: str) -> None:
    changed = copy.deepcopy(recipe) | {"precision": precision, "lr_frozen": {"steps": 20}}
    changed["lr_unfrozen"] = {"steps": 20}
    changed["fit_frozen"]["epochs"] = changed["fit_unfrozen"]["epochs"] = 2
    prepared.write_recipes({"tiny": changed})
    for stage in ("lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "evaluate"):
        prepared.stage(stage, "tiny")
    folder = prepared.folder
    assert json.loads((folder / "models/tiny/model.json").read_text())["precision"] == precision
    before = tensors(folder / "models/tiny/frozen.safetensors")
    after = tensors(folder / "models/tiny/model.safetensors")
    assert {str(value.dtype) for name, value in after.items() if name.endswith("weight")} == {
        "torch.float32"
    }
    assert any((after[name] != value).any() for name, value in before.items())
    assert prepared.run("python", "-c", SERVED).stdout.split() == ["12", "True"]


# What a server does with the held-out images, in validation's batches.
SERVED = """
from pathlib import Path
import numpy as np, pandas as pd, torch
from thaw.bands import reader
from thaw.predictor import open_as_validated
torch.set_num_threads(1)
predictor = open_as_validated(Path("models/tiny"))
validated = pd.read_parquet("results/tiny/predictions.parquet")
read = reader(3, [])
images = [read(Path("data/tiny/raw/shapes", p), predictor.about.presize) for p in validated["path"]]
parts = [predictor.outputs(images[begin : begin + 8]) for begin in range(0, len(images), 8)]
print(len(images), np.array_equal(np.concatenate(parts), np.stack(validated["logits"])))
"""


def test_auto_takes_what_both_tests_found(prepared: Project, recipe: dict) -> None:
    changed = copy.deepcopy(recipe)
    changed["lr_frozen"], changed["lr_unfrozen"] = {"steps": 60}, {"steps": 60}
    changed["fit_frozen"] |= {"epochs": 1, "lr": "auto"}
    changed["fit_unfrozen"] |= {"epochs": 1, "lr": "auto"}
    prepared.write_recipes({"tiny": changed})
    for stage in ("lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen"):
        prepared.stage(stage, "tiny")

    def read(name: str) -> dict:
        return json.loads((prepared.folder / "results/tiny" / name).read_text())

    frozen, unfrozen = (read(f"lr_{phase}/suggestion.json") for phase in ("frozen", "unfrozen"))
    head = read("fit_frozen/metrics.json")["lr/head"]
    assert head == frozen["chosen"] is not None
    metrics = read("fit_unfrozen/metrics.json")
    assert metrics["lr/early"] == pytest.approx(unfrozen["chosen"])
    assert metrics["lr/head"] == pytest.approx(head / 10)


def test_metrics_of_a_fit_are_those_asked_for(prepared: Project, recipe: dict) -> None:
    changed = copy.deepcopy(recipe)
    changed["augment"]["views"] = 0  # live images through a frozen body
    changed["lr_frozen"] = {"steps": 0}
    changed["fit_frozen"] |= {
        "epochs": 1,
        "metrics": ["top_k_error_rate", "f1_macro", "coverage"],
        "metric_top_k": 3,
        "metric_threshold": 0.99,
    }
    prepared.write_recipes({"tiny": changed})
    prepared.stage("lr_frozen", "tiny")
    prepared.stage("fit_frozen", "tiny")
    history = pd.read_csv(prepared.folder / "results/tiny/fit_frozen/history.csv")
    assert list(history) == [
        "epoch", "train_loss", "valid_loss", "top_k_error_rate", "f1_macro", "coverage", "lr",
    ]  # fmt: skip
    assert history["top_k_error_rate"].item() == 0.0  # three classes, three guesses
    metrics = json.loads((prepared.folder / "results/tiny/fit_frozen/metrics.json").read_text())
    assert metrics["valid/f1_macro"] == history["f1_macro"].item()


@pytest.fixture
def weights_server(prepared: Project, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on loopback with a `.pth` of the tiny architecture; its address and folder."""
    import torch

    path = tmp_path / "net.pth"
    torch.save(dict(tensors(prepared.folder / "models/tiny/pretrained.safetensors")), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.rename(tmp_path / f"net-{digest[:8]}.pth")
    (tmp_path / "net-00000000.pth").write_bytes((tmp_path / f"net-{digest[:8]}.pth").read_bytes())
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/net-{digest[:8]}.pth", tmp_path
    server.shutdown()


def test_weights_come_from_an_address_and_their_hash_is_checked(
    prepared: Project, recipe: dict, weights_server: tuple[str, Path]
) -> None:
    address, _ = weights_server
    before = (prepared.folder / "models/tiny/pretrained.safetensors").read_bytes()
    source = {"source": address, "after": "stages/weights.py"}
    prepared.write_recipes({"tiny": recipe | {"weights": source}})
    prepared.stage("weights", "tiny")
    assert (prepared.folder / "models/tiny/pretrained.safetensors").read_bytes() == before
    wrong = address.rsplit("/", 1)[0] + "/net-00000000.pth"
    message = refused(prepared, "weights", recipe | {"weights": source | {"source": wrong}})
    assert "the name says that it begins with 00000000" in message
    assert (prepared.folder / "models/tiny/pretrained.safetensors").read_bytes() == before


def test_another_recipes_model_is_a_body(prepared: Project, recipe: dict) -> None:
    for stage in ("lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen"):
        changed = copy.deepcopy(recipe)
        changed["lr_frozen"] = changed["lr_unfrozen"] = {"steps": 0}
        changed["fit_frozen"]["epochs"] = changed["fit_unfrozen"]["epochs"] = 0
        prepared.write_recipes({"tiny": changed})
        prepared.stage(stage, "tiny")
    model = "models/tiny/model.safetensors"
    other = recipe | {"weights": {"source": model, "after": model}, "seed": 9}
    prepared.write_recipes({"other": other})
    prepared.stage("weights", "other")
    assert (prepared.folder / "models/other/pretrained.safetensors").read_bytes() == (
        prepared.folder / "models/tiny/pretrained.safetensors"
    ).read_bytes()
    resnet = other | {"model": recipe["model"] | {"arch": "resnet18"}}
    message = refused(prepared, "weights", resnet, "other")
    assert "has model.arch shufflenet_v2_x0_5, this recipe resnet18" in message
    forgotten = other | {"weights": {"source": model, "after": "stages/weights.py"}}
    assert f"after must be '{model}'" in refused(prepared, "weights", forgotten, "other")


def tensors(path: Path) -> dict:
    """All tensors of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
