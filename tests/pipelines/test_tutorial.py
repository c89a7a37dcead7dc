"""docs/tutorial.md, command by command, with small photos and a small recipe behind it."""

import json
import re
import shlex
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from project import ROOT, Project, quick_recipe
from ruamel.yaml import YAML
from servers import free_port, server
from test_dvc import stages_run

from stages.check import check_recipe

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
COMMAND = re.compile(r"^    ((?:tar|python|dvc|git|mlflow|curl|export) .*)$", re.M)
IDENTITY = {
    f"GIT_{who}_{what}": "someone@example.org"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def entry() -> dict:
    """The page's entry of params.yaml."""
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.S)
    assert found
    return YAML(typ="safe").load(found[1])["photos"]


def test_the_entry_is_a_recipe() -> None:
    assert check_recipe("photos", entry()) == []


def test_every_command_does_what_the_page_says(
    new_project: Callable[[], Project], shapes_archive: Path, tmp_path: Path
) -> None:
    project = new_project()
    with tarfile.open(shapes_archive) as tar:
        tar.extractall(tmp_path, filter="data")
    for kind, name in (("cross", "cat"), ("disc", "dog")):
        shutil.copytree(tmp_path / "shapes" / kind, project.folder / "photos" / name)
    small = quick_recipe(Path("photos.tgz")) | {"data": entry()["data"] | {"presize": 36}}
    project.write_recipes({"photos": entry() | small})
    port, home = str(free_port()), {"PREFECT_HOME": str(tmp_path / "prefect"), **IDENTITY}
    lines = [line.replace("5002", port).replace("1.jpg", "1.png") for line in COMMAND.findall(PAGE)]

    def type_(line: str) -> str:
        return project.run("bash", "-c", line, **home).stdout

    told = {}
    (serve,) = [line for line in lines if line.startswith("mlflow")]
    where = lines.index(serve)
    for line in lines[: where - 1]:
        told[line] = type_(line)
    assert "1 recipe checked: photos" in told["python -m stages check"]
    assert (project.folder / "results/photos/report/index.html").exists()
    sweep = next(line for line in lines if "pipelines.sweep" in line)
    table = project.folder / re.search(r"`(results/sweeps/.*?\.csv)`", PAGE)[1]
    assert pd.read_csv(table)["status"].tolist() == ["done"] * 4
    assert "Best on average: error_rate" in told[sweep]
    assert "error_rate was best after" in told["python -m pipelines.retrain photos"]
    assert "version 1" in told["python -m pipelines.registry photos"]
    assert "becomes champion" in told["python -m pipelines.registry photos"]

    export, ask = lines[where - 1], lines[where + 1]
    setting = dict(word.split("=", 1) for word in shlex.split(export)[1:])
    store = setting["MLFLOW_TRACKING_URI"].replace("$PWD", str(project.folder))
    (tmp_path / "elsewhere").mkdir()
    with server(
        shlex.split(serve),
        f"http://127.0.0.1:{port}/ping",
        tmp_path / "serve.log",
        tmp_path / "elsewhere",
        MLFLOW_TRACKING_URI=store,
    ):
        (answer,) = json.loads(type_(ask))["predictions"]
    assert answer["error"] is None
    assert set(answer["probabilities"]) == {"cat", "dog"}

    # More photos: other data, so the champion stays.
    shutil.copytree(tmp_path / "shapes" / "square", project.folder / "photos" / "square")
    type_(lines[0])
    for line in lines[where + 2 :]:
        told[line] = type_(line)
    assert "version 2" in told["python -m pipelines.registry photos"]
    assert "becomes champion" not in told["python -m pipelines.registry photos"]
    assert "version 2 is champion" in told["python -m pipelines.registry photos --champion 2"]
    assert stages_run(project.run("dvc", "repro").stdout) == []
