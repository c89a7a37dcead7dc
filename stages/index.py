"""The index of all reports, `results/index.html`: no output of a stage, for it is of all recipes.

It is written anew after each report, by flows, and by `python -m pipelines.results`. Unlike a
report it may say which commit made the results: DVC keeps no copy of it, and compares none.
"""

import filecmp
from pathlib import Path

from filelock import FileLock

from stages.common.paths import SCRATCH, Paths
from stages.recipe import PARAMS_FILE, read_recipes
from thaw.core.errors import UserError
from thaw.core.files import read_json, read_parquet, replacing, require
from thaw.report.page import Entry, render_index
from thaw.report.sentence import KINDS, kind_of, result_sentence

INDEX = Path("results", "index.html")
LOCK = SCRATCH / "index.lock"
COMMIT, CHANGED = "mlflow.source.git.commit", "thaw.git_dirty"  # tags of a recorded run
DIGITS = 10  # of a commit


def write_index(root: Path = Path()) -> Path:
    """Write the page with every recipe's result in a sentence, and links to the reports.

    Recipes whose stages run meanwhile are shown as they are found; whoever ends last writes last.

    Returns:
        The page.
    """
    (root / LOCK).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root / LOCK):
        entries = [index_entry(root, recipe) for recipe in read_recipes(root / PARAMS_FILE)]
        with replacing(root / INDEX) as part:
            part.write_text(render_index(entries), encoding="utf-8")
    return root / INDEX


def index_entry(root: Path, recipe: str) -> Entry:
    """Say what is known of a recipe's result."""
    paths = Paths(recipe)
    try:
        require(root / paths.report)
        vocab = read_json(root / paths.vocab)
        predictions = read_parquet(root / paths.predictions)
        metrics = read_json(root / paths.result("evaluate", "metrics.json"))
    except FileNotFoundError:  # never made, or DVC removed it to have it made anew
        return Entry(recipe, "", "", f"no report yet: dvc repro report@{recipe}")
    except UserError as error:  # of one recipe, which must not hide the others
        return Entry(recipe, "", "", str(error))
    link = paths.report.relative_to(INDEX.parent).as_posix()
    sentence = result_sentence(metrics, predictions, vocab)
    kind = KINDS[kind_of(predictions, vocab)]
    return Entry(recipe, link, kind, sentence, commit_of(root, paths))


def commit_of(root: Path, paths: Paths) -> str:
    """Return the commit that the present results were made from, "" if no recorded run says it.

    A report is written before its run is recorded: an older run's note counts only if its results
    are these.
    """
    if not (root / paths.run).exists():
        return ""
    run = root / SCRATCH / "runs" / read_json(root / paths.run)["key"]
    results = (paths.epochs, paths.result("evaluate", "metrics.json"))
    pairs = [(root / file, run / "files" / file) for file in results]
    same = all(
        here.exists() and copy.exists() and filecmp.cmp(here, copy, shallow=False)
        for here, copy in pairs
    )
    tags = read_json(run / "run.json")["tags"] if same else {}
    changed = ", with changes" if tags.get(CHANGED) == "true" else ""
    return f"{tags[COMMIT][:DIGITS]}{changed}" if COMMIT in tags else ""
