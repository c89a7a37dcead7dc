"""A finished recipe as an MLflow model: code and files; no pickle, and no torch until it loads."""

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import thaw
from stages.common.paths import Paths
from thaw.core.files import read_json, read_parquet, write_parquet
from thaw.params.training.fit import OneCycle
from thaw.serving.columns import RATED, RATED_COLUMNS, input_columns
from thaw.serving.service import Settings, write_settings

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import Model

CODE = Path(__file__).with_name("served_model.py")
PACKAGE = Path(thaw.__file__).parent
RATINGS = "ratings"
# What `thaw.serving` imports; named, because MLflow would take many seconds to find out.
REQUIREMENTS = (
    "mlflow", "numpy", "pandas", "pillow", "pyarrow", "pydantic", "safetensors", "scikit-learn",
    "torch", "torchvision", "tqdm",
)  # fmt: skip
# Of which torch is not the same without the other, and that only images need.
ONLY_IMAGES = ("torchvision",)


def requirements(task: str) -> list[str]:
    """Pin what a model needs to the versions of now, as a package index knows them.

    Args:
        task: `label`, `labels`, `points` or `ratings`.
    """
    names = [name for name in REQUIREMENTS if task != RATINGS or name not in ONLY_IMAGES]
    # A build's own label, as in 2.13.0+cpu, is on no index.
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]


def signature(about: Mapping[str, Any]) -> "ModelSignature":
    """Say what a model is asked with, and what it answers.

    Args:
        about: the content of ``model.json``.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array, Map, Object, Property

    text, number = DataType.string, DataType.double
    outputs: dict[str, dict[str, Any]] = {
        "label": {"label": text, "probabilities": Map(number)},
        "labels": {"labels": Array(text), "probabilities": Map(number)},
        "points": {"points": Array(Object([Property("x", number), Property("y", number)]))},
        RATINGS: {
            "rating": number,
            "best": Array(
                Object(
                    [Property("item", text), Property("title", text), Property("rating", number)]
                )
            ),
            "unknown": Array(text),
        },
    }
    columns = input_columns(about["task"], about.get("bands", []))
    return ModelSignature(
        Schema([ColSpec(text, name, required) for name, required in columns.items()]),
        Schema(
            [
                ColSpec(kind, name, required=False)
                for name, kind in (outputs[about["task"]] | {"error": text}).items()
            ]
        ),
    )


@contextmanager
def saved_model(
    root: Path, recipe: str, values: Mapping[str, Any], model: "Model"
) -> Iterator[Path]:
    """Yield a folder with a finished recipe's model as MLflow serves it, for as long as it is used.

    Args:
        root: the project.
        recipe: its name.
        values: its parameters.
        model: MLflow's description, which knows its id and its run.

    Raises:
        FileNotFoundError: a file of the model is not there.
    """
    from mlflow import pyfunc

    paths = Paths(recipe)
    about = read_json(root / paths.model_json)
    with tempfile.TemporaryDirectory(prefix="thaw-model-") as scratch:
        files = {
            "description": root / paths.model_json,
            "weights": root / paths.model,
            "settings": write_settings(Path(scratch), settings_of(values)),
        }
        if about["task"] == RATINGS:
            files["rated"] = Path(scratch, RATED)
            write_parquet(files["rated"], read_parquet(root / paths.items)[RATED_COLUMNS])
        else:
            files["threshold"] = root / paths.threshold
        with warnings.catch_warnings():
            # An example would be tried out, which takes torch, and say what the signature says.
            warnings.filterwarnings("ignore", ".*An input example was not provided")
            pyfunc.save_model(
                path=Path(scratch, "model"),
                python_model=CODE,
                artifacts={name: str(file) for name, file in files.items()},
                code_paths=[str(PACKAGE)],
                signature=signature(about),
                pip_requirements=requirements(about["task"]),
                mlflow_model=model,
            )
        yield Path(scratch, "model")


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return what validation computed with; of ratings, batches make no difference."""
    batch_size = values.get("fit_unfrozen", {}).get("batch_size", OneCycle.batch_size)
    return Settings(threads=values["threads"], batch_size=batch_size)
