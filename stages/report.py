"""Put all that a recipe left into one page: `python -m stages report RECIPE`."""

import functools
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from stages.common.paths import Paths
from stages.index import write_index
from thaw.core.files import read_json, read_parquet, replacing, require
from thaw.params.base import params
from thaw.report import sections
from thaw.report.page import Page, render_page
from thaw.report.sentence import KINDS, kind_of, result_sentence

NEW_MD5 = functools.partial(hashlib.md5, usedforsecurity=False)
AT_THE_CHOICE = (
    "In this section a label is given above the probability that was chosen (see below); in the "
    "figures at the top of the page, above a half."
)


@params
class Params:
    """Every section, as it stands: the page shows them all, and reads none."""

    seed: Any = None
    threads: Any = None
    precision: Any = None
    data: Any = None
    model: Any = None
    download: Any = None
    untar: Any = None
    split: Any = None
    augment: Any = None
    weights: Any = None
    lr_frozen: Any = None
    fit_frozen: Any = None
    lr_unfrozen: Any = None
    fit_unfrozen: Any = None
    threshold: Any = None
    interpret: Any = None
    lr_find: Any = None
    fit: Any = None


def run(params: Params, paths: Paths) -> None:
    """Write the page, and the index of all recipes' pages anew."""
    values = {name: value for name, value in asdict(params).items() if value is not None}
    page = render_page(build_page(values, paths))
    with replacing(paths.report) as part:
        part.write_text(page, encoding="utf-8")
    write_index()
    print(f"{paths.report}: {len(page.encode()) / 1e3:,.0f} kB")


def build_page(values: dict[str, Any], paths: Paths) -> Page:
    """Gather a recipe's results.

    Args:
        values: the recipe as it stands in params.yaml.
        paths: of the recipe.
    """
    vocab, model = read_json(paths.vocab), read_json(paths.model_json)
    predictions = read_parquet(paths.predictions)
    metrics = read_json(paths.result("evaluate", "metrics.json"))
    require(paths.epochs)
    kind, results = kind_of(predictions, vocab), paths.epochs.parent
    levels = sorted(predictions["rating"].unique()) if kind == "ratings" else []
    said = [AT_THE_CHOICE] if kind == "labels" and read_json(paths.threshold) else []
    facts: dict[str, Any] = {name: values[name] for name in ("seed", "threads", "precision")}
    facts |= {"device": model["device"], "precision on it": model["precision"]}
    return Page(
        recipe=paths.recipe,
        kind=KINDS[kind],
        sentence=result_sentence(metrics, predictions, vocab),
        facts=headline_facts(metrics, model),
        sections=[
            sections.diagnosis(read_json(paths.result("evaluate", "diagnosis.json"))),
            sections.learning_rates(results),
            sections.training(results, pd.read_csv(paths.epochs)),
            sections.answers(results, [str(level) for level in levels] or vocab, said),
            sections.threshold(results, read_json(paths.threshold)),
            sections.data(results),
            sections.parameters(paths.recipe, values),
            sections.reproduction(paths.recipe, data_version(paths), facts),
        ],
    )


def headline_facts(metrics: dict[str, float], model: dict[str, Any]) -> dict[str, str]:
    """Choose what stands at the top: the final metrics, and what was trained."""
    found = {
        name.removeprefix("valid/").replace("_", " "): f"{value:.4g}"
        for name, value in metrics.items()
        if not name.endswith("_se")
    }
    return found | ({"body": model["model"]["arch"]} if "arch" in model["model"] else {})


def data_version(paths: Paths) -> dict[str, str]:
    """Return the MD5 of the data that was trained on, the same as DVC's."""
    return {str(path): md5(path) for path in (paths.items, paths.packed) if path.exists()}


def md5(path: Path) -> str:
    """Return the MD5 of a file in hexadecimal; of a folder, that of DVC's list of its files."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listed = [{"md5": md5(f), "relpath": f.relative_to(path).as_posix()} for f in files]
        return NEW_MD5(json.dumps(listed).encode()).hexdigest() + ".dir"
    with path.open("rb") as content:
        return hashlib.file_digest(content, NEW_MD5).hexdigest()
