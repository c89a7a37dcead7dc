"""The sections of a report, made of what a recipe's stages left."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from thaw.core.files import read_json
from thaw.params.base import plural
from thaw.report import charts
from thaw.report.page import Chart, Section, Verdict
from thaw.report.pictures import read_pictures
from thaw.report.tables import (
    MOST_CLASSES,
    Table,
    confusion_table,
    crosstab_table,
    flat,
    pairs_table,
    table_of,
)

LR_TESTS = {
    "lr_frozen": "before the frozen fit",
    "lr_unfrozen": "before the unfrozen fit",
    "lr_find": "before the fit",
}
FITS = ("fit_frozen", "fit_unfrozen", "fit")
LOSSES = ["train_loss", "valid_loss"]
MOST_OF_LOOK, MOST_OF_ANSWERS = 400_000, 1_750_000  # bytes of pictures: a page has 3 MB at most
MOST_CURVES = 5  # that a chart can tell apart

# What is known to be written, in the order in which it is shown.
TABLES = {
    "classes": "Items by class and part",
    "sizes": "Sizes of the original images",
    "duplicates": "The same image twice",
    "per_class": "By class",
    "confusion": "Confusion by class",
    "most_confused": "Classes most often confused",
    "groups": "Errors by group",
    "top_losses": "The largest losses",
    "bias": "Learned biases: what is liked, and disliked, whoever is asked",
    "components": "Principal components of the learned factors",
    "nearest": "Items whose factors are most alike",
    "crosstab": "Predicted ratings of those who rated most",
}
NAMES = dict.fromkeys(("class", "actual", "predicted", "group", "path", "title"), str)
SORTED = ("bias",)  # whose end says as much as its beginning


def diagnosis(found: Mapping[str, Mapping[str, Any]]) -> Section:
    """Show what `evaluate` says of each fit."""
    verdicts = [
        Verdict(
            fit,
            entry["verdict"],
            entry["why"],
            f"{entry['parameter']}: {entry['try']}" if "parameter" in entry else "",
        )
        for fit, entry in found.items()
    ]
    return Section("diagnosis", "Diagnosis", verdicts=verdicts)


def data(results: Path) -> Section:
    """Show what was split and packed, and what `look` saw."""
    tables = [counts_table(read_json(results / "split" / "metrics.json"))]
    packed = results / "pack" / "metrics.json"
    if packed.exists():
        values = {charts.words(name): value for name, value in read_json(packed).items()}
        tables.append(pairs_table(values, "Packed images", ("what", "how many")))
    section = folders("data", "Data", results / "look", MOST_OF_LOOK, tables)
    return replace(section, text=[*warnings(results), *section.text])


def warnings(results: Path) -> list[str]:
    """Say what the split did not keep apart."""
    file = results / "look" / "tables" / "duplicates.csv"
    pairs = len(read_csv(file)) if file.exists() else 0
    if not pairs:
        return []
    return [
        f"Warning: {plural(pairs, 'pair')} of images are the same pixel for pixel and lie in two "
        "parts (below: the same image twice). What is measured on them flatters the model."
    ]


def counts_table(metrics: Mapping[str, float]) -> Table:
    """Lay out the split's counts, those of all items beside those of each part."""
    found: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        part, _, what = name.rpartition("/")
        if what == "classes" and not value:  # of points
            continue
        found.setdefault(charts.words(what), {})[part or "all"] = value
    frame = pd.DataFrame.from_dict(found, orient="index", dtype=object)
    return table_of(frame.rename_axis("what").reset_index(), "Split")


def learning_rates(results: Path) -> Section:
    """Show the learning-rate tests, or say why there is none."""
    drawn, said, tables = [], [], []
    read: dict[str, dict[str, float | None]] = {}
    for stage, when in LR_TESTS.items():
        file = results / stage / "curve.csv"
        if not file.exists():
            continue
        curve, suggestion = pd.read_csv(file), read_json(file.with_name("suggestion.json"))
        if suggestion["chosen"] is None:
            said.append(f"{stage}: {suggestion['reason']}.")
        if len(curve):
            svg = charts.lr_chart(curve, suggestion, stage)
            drawn.append(Chart(svg, f"{stage}: learning-rate test {when}"))
            read[stage] = {where: suggestion.get(rule) for rule, where in charts.RULES.items()}
            read[stage]["chosen"] = suggestion["chosen"]
    if read:
        rates = pd.DataFrame(read, dtype=object).rename_axis("where").reset_index()
        tables.append(table_of(rates, "Learning rates read off the curves"))
    return Section("rates", "Learning rates", said, charts=drawn, tables=tables)


def training(results: Path, epochs: pd.DataFrame) -> Section:
    """Show losses and metrics by epoch and fit, learning rate and momentum by step."""
    drawn = []
    if len(epochs):
        losses = charts.epochs_chart(epochs, LOSSES, "losses", "loss")
        drawn.append(Chart(losses, "Losses by epoch"))
    metrics = list(epochs.columns[epochs.columns.get_loc("valid_loss") + 1 :])
    if len(epochs) and metrics:
        svg = charts.epochs_chart(epochs, metrics[:MOST_CURVES], "metrics", "metric")
        drawn.append(Chart(svg, "Metrics on held-out items by epoch"))
    for fit in FITS:
        file = results / fit / "batches.csv"
        batches = pd.read_csv(file) if file.exists() else pd.DataFrame()
        if len(batches):
            svg = charts.one_cycle_chart(batches, fit.replace("_", "-"))
            drawn.append(Chart(svg, f"{fit}: learning rate and momentum by step"))
    rates = epochs.columns[epochs.columns.str.startswith("lr_")]
    fits = epochs.groupby("fit", sort=False)
    table = fits[list(rates)].first().assign(epochs=fits.size()).reset_index()
    caption = "Fits: the largest learning rate of each parameter group"
    tables = [table_of(table, caption)] if len(table) else []
    return Section("training", "Training", charts=drawn, tables=tables)


def threshold(results: Path, chosen: Mapping[str, float]) -> Section:
    """Show when an answer is taken; nothing where there is no such choice."""
    title = "When an answer is taken"
    if not chosen:
        return Section("threshold", title)
    curve = pd.read_csv(results / "threshold" / "curve.csv")
    metrics = read_json(results / "threshold" / "metrics.json")
    values = list(chosen.values())
    if "coverage" in curve:
        svg = charts.coverage_chart(curve, values[0], metrics, "threshold")
        caption = "How often answers are wrong, by the share that is given"
        said = "An answer of less confidence is withheld."
    else:
        svg = charts.sweep_chart(curve, values, "threshold")
        caption = "Metrics by the probability above which a label is given"
        said = "A label of less probability is not given."
    by_part: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        part, _, metric = name.partition("/")
        by_part.setdefault(part, {})[metric] = value
    parts = pd.DataFrame(by_part).T.rename(index=PARTS).rename_axis("on").reset_index()
    tables = [table_of(parts, "What the choice is worth")]
    if len(set(values)) > 1:
        tables.append(pairs_table(chosen, "The choice for each class", ("class", "above")))
    return Section("threshold", title, [said], charts=[Chart(svg, caption)], tables=tables)


PARTS = {"chosen_on": "the half it was chosen on", "other_half": "the other half", "valid": "both"}


def answers(results: Path, classes: Sequence[str], said: Sequence[str] = ()) -> Section:
    """Show what is answered right and wrong, or what a model of ratings has learned.

    Args:
        results: of the recipe.
        classes: the vocabulary, or the values of ratings.
        said: paragraphs, on what counts as an answer.
    """
    tables = []
    confusion = read_csv(results / "evaluate" / "confusion.csv")
    drawn = len(confusion) > 0 and len(classes) <= MOST_CLASSES
    if drawn:
        tables.append(confusion_table(confusion, classes, "Confusion: a row for each actual class"))
    made = results / "interpret"
    # One label's counts are shown already.
    leave_out = ["confusion"] if len(confusion) else []
    if not any((made / "tables" / f"{name}.csv").exists() for name in ("per_class", "groups")):
        per_class = read_csv(results / "evaluate" / "per_class.csv")
        if len(per_class):
            source = "evaluate/per_class.csv"
            tables.append(table_of(per_class, f"By {per_class.columns[0]}", source))
    section = folders(
        "answers", "Right and wrong", made, MOST_OF_ANSWERS, tables,
        without_tables=leave_out, without_pictures=leave_out if drawn else [],
    )  # fmt: skip
    return replace(section, text=[*said, *section.text])


def folders(
    name: str,
    title: str,
    made: Path,
    most: int,
    tables: Sequence[Table],
    *,
    without_tables: Sequence[str] = (),
    without_pictures: Sequence[str] = (),
) -> Section:
    """Show tables, and after them what lies in a stage's folders.

    Args:
        name: of the section.
        title: of the section.
        made: a stage's results, whose folders ``tables`` and ``pictures`` may be missing.
        most: bytes of its pictures.
        tables: to be shown first.
        without_tables: stems of files that are not to be shown.
        without_pictures: the same of pictures.
    """
    order = list(TABLES)
    files = [f for f in sorted(made.glob("tables/*.csv")) if f.stem not in without_tables]
    files.sort(key=lambda file: order.index(file.stem) if file.stem in TABLES else len(order))
    shown = [table for file in files if (table := read_table(file)).rows]
    wanted = [f for f in sorted(made.glob("pictures/*")) if f.stem not in without_pictures]
    pictures, left_out = read_pictures(wanted, most)
    said = [f"Too large for this page: {', '.join(map(str, left_out))}."] if left_out else []
    return Section(name, title, said, tables=[*tables, *shown], pictures=pictures)


def read_table(file: Path) -> Table:
    """Read a table that a stage left."""
    frame = read_csv(file)
    caption = TABLES.get(file.stem, charts.words(file.stem))
    if file.stem == "crosstab" and len(frame):
        return crosstab_table(frame, caption)
    return table_of(frame, caption, str(file), both_ends=file.stem in SORTED)


def read_csv(file: Path) -> pd.DataFrame:
    """Read a table in which a class may be called 007, or None."""
    return pd.read_csv(file, dtype=NAMES, keep_default_na=False, na_values=[""])


def parameters(recipe: str, values: Mapping[str, Any]) -> Section:
    """Show a recipe of params.yaml as it was run, with what it inherits."""
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    settings = {"recipe": plain}
    settings |= {name: flat(value) for name, value in values.items() if name not in plain}
    shown = {
        section: {name: as_yaml(value) for name, value in entries.items()}
        for section, entries in settings.items()
    }
    said = f"recipes.{recipe} of params.yaml; what is not named there has its default."
    return Section("parameters", "Parameters", [said], settings=shown)


def as_yaml(value: Any) -> str:
    """Write a value as it could stand in params.yaml."""
    if isinstance(value, str) and value == value.strip() and value:
        return value
    return json.dumps(value, ensure_ascii=False)


def reproduction(recipe: str, files: Mapping[str, str], facts: Mapping[str, Any]) -> Section:
    """Show which data was used, and the commands that make the same bytes again.

    Args:
        recipe: its name.
        files: MD5 by file, as dvc.lock has them.
        facts: what else the bytes depend on.
    """
    tables = [
        pairs_table(files, "Data version", ("file", "MD5, as in dvc.lock and MLflow")),
        pairs_table({k: str(v) for k, v in facts.items()}, "Depends on", ("what", "value")),
    ]
    commands = [
        f"dvc repro report@{recipe}",
        f"python -m pipelines.train {recipe}    # the same as a flow, recorded in MLflow",
    ]
    said = (
        "In a clone of the project that has these parameters, these commands leave the same bytes "
        "in every output, on the same kind of processor. The index of all recipes, and MLflow, say "
        "which commit it was that made these."
    )
    title = "Data version, and how to reproduce"
    return Section("reproduce", title, [said], tables=tables, commands=commands)
