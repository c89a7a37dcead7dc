"""Recording against real MLflow stores: files, servers, dead servers, deleted databases."""

import json
import shutil
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from project import Project
from servers import free_port, mlflow_server
from test_dvc import stages_run

from pipelines.live import Sender
from pipelines.runs import Run, RunFolder
from pipelines.store import Store, StoreError

pytestmark = pytest.mark.slow

RECORD = (sys.executable, "-m", "pipelines.record")


@pytest.fixture
def recorded(tmp_path: Path) -> RunFolder:
    """A recorded run with a curve of three epochs, in a project of its own."""
    (tmp_path / "results/pets/fit").mkdir(parents=True)
    write_history(tmp_path, 3)
    folder = RunFolder(tmp_path / ".thaw/runs/0123")
    folder.copy([Path("results/pets/fit/history.csv")], tmp_path)
    folder.write(Run("0123", "pets", "FINISHED", {"seed": "1"}, {"thaw.device": "cpu"}))
    return folder


def write_history(root: Path, epochs: int) -> None:
    rows = [f"{epoch},{1 / (epoch + 1)}" for epoch in range(epochs)]
    file = root / "results/pets/fit/history.csv"
    file.write_text("\n".join(["epoch,valid_loss", *rows, ""]))


def curves(uri: str, key: str = "fit/valid_loss") -> list[list[int]]:
    """The steps of a curve in each run of a store, in their order of arrival."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("thaw")
    runs = client.search_runs([experiment.experiment_id])
    return [[m.step for m in client.get_metric_history(r.info.run_id, key)] for r in runs]


def test_a_run_is_complete_after_plain_dvc_repro(trained: Project) -> None:
    client = MlflowClient(f"sqlite:///{trained.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("thaw")
    assert experiment.artifact_location == (trained.folder / "mlruns").as_uri()
    (run,) = client.search_runs([experiment.experiment_id])
    key = run.data.tags["thaw.key"]
    assert (run.info.run_name, run.info.status) == (f"quick-{key[:6]}", "FINISHED")
    assert run.data.params["fit_frozen.epochs"] == "2"
    assert run.data.params["model.arch"] == "shufflenet_v2_x0_5"
    evaluated = json.loads((trained.folder / "results/quick/evaluate/metrics.json").read_text())
    assert evaluated.items() <= run.data.metrics.items()
    assert run.data.metrics["seconds/fit_frozen"] > 0
    tags = run.data.tags
    assert (tags["thaw.device"], tags["thaw.precision"]) == ("cpu", "fp32")
    lock = (trained.folder / "dvc.lock").read_text()
    assert f"md5: {tags['thaw.data.packed']}" in lock
    assert f"md5: {tags['thaw.data.items']}" in lock
    noted = json.loads((trained.folder / "models/quick/run.json").read_text())
    assert noted == {"key": tags["thaw.key"]}
    files = {file.path for file in client.list_artifacts(run.info.run_id, "threshold")}
    assert {"threshold/curve.png", "threshold/curve.csv"} <= files
    for kind, name in (("pictures", "batch.jpg"), ("tables", "classes.csv")):
        looked = [f.path for f in client.list_artifacts(run.info.run_id, f"look/{kind}")]
        assert f"look/{kind}/{name}" in looked
    for folder, name in (("tables", "confusion.csv"), ("pictures", "top_losses.jpg")):
        place = f"interpret/{folder}"
        files = {file.path for file in client.list_artifacts(run.info.run_id, place)}
        assert f"{place}/{name}" in files
    paths = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert "predictions.parquet" in paths


def test_a_deleted_store_is_filled_again_by_one_command(trained: Project) -> None:
    store = trained.folder / "mlflow.db"
    before = curves(f"sqlite:///{store}", "fit_frozen/batch/loss")
    assert "0 of 1 recorded runs sent" in trained.run(*RECORD).stdout
    store.unlink()
    shutil.rmtree(trained.folder / "mlruns")
    assert "1 of 1 recorded runs sent" in trained.run(*RECORD).stdout
    assert curves(f"sqlite:///{store}", "fit_frozen/batch/loss") == before
    store.unlink()
    shutil.rmtree(trained.folder / ".thaw")  # safe to delete: the results are still there
    assert "1 of 1 recorded runs sent" in trained.run(*RECORD).stdout
    assert curves(f"sqlite:///{store}", "fit_frozen/batch/loss") == before
    assert stages_run(trained.run("dvc", "repro").stdout) == []  # DVC's cache has `.thaw/code`


def test_a_server_that_is_down_or_mute_stops_nothing(trained: Project, tmp_path: Path) -> None:
    key = json.loads((trained.folder / "models/quick/run.json").read_text())["key"]
    with socket.socket() as mute:  # takes connections and never answers
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        for port in (free_port(), mute.getsockname()[1]):
            address = f"http://user:secret@127.0.0.1:{port}"
            done = trained.run(
                "dvc", "repro", "-f", "-s", "record@quick",
                MLFLOW_TRACKING_URI=address, MLFLOW_HTTP_REQUEST_TIMEOUT="2",
            )  # fmt: skip
            assert "The run is kept; `python -m pipelines.record` sends it." in done.stdout
            assert "secret" not in done.stdout + done.stderr
            assert "Traceback" not in done.stdout + done.stderr
            assert key in (trained.folder / "models/quick/run.json").read_text()
    lacking = trained.run(*RECORD, ok=False, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}")
    assert lacking.returncode == 1
    assert "Traceback" not in lacking.stderr
    (tmp_path / "server").mkdir()
    with mlflow_server(tmp_path / "server") as address:
        sent = trained.run(*RECORD, MLFLOW_TRACKING_URI=address)
        assert f"1 of 1 recorded runs sent to {address}" in sent.stdout
        assert curves(address, "fit_frozen/batch/loss") == [list(range(10))]
        client = MlflowClient(address)
        run = client.search_runs(["1"])[0]
        files = {file.path for file in client.list_artifacts(run.info.run_id, "threshold")}
        assert "threshold/curve.png" in files


def test_a_server_that_dies_in_the_middle_gets_the_rest_later(
    recorded: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    (tmp_path / "server").mkdir()
    port = free_port()
    with mlflow_server(tmp_path / "server", port) as address:
        store = Store(address, tmp_path)
        run = recorded.read()
        run.status = "RUNNING"
        recorded.write(run)
        store.send(recorded)
    write_history(tmp_path, 5)
    recorded.copy([Path("results/pets/fit/history.csv")], tmp_path)
    with pytest.raises(StoreError, match=r"MLflow at http://127\.0\.0\.1"):
        store.send(recorded)
    run.status = "FINISHED"
    recorded.write(run)
    with mlflow_server(tmp_path / "server", port) as address:
        Store(address, tmp_path).send(recorded)
        Store(address, tmp_path).send(recorded)
        assert curves(address) == [[0, 1, 2, 3, 4]]


def test_senders_side_by_side_make_one_store_and_one_run(
    recorded: RunFolder, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"  # does not exist yet

    def send(_: int) -> None:
        Store(uri, tmp_path).send(recorded)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(4)))
    assert curves(uri) == [[0, 1, 2]]
    assert Store(uri, tmp_path).has(recorded)


def test_a_run_that_cannot_be_sent_holds_up_no_other(recorded: RunFolder, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/store.db"
    damaged = RunFolder(recorded.path.with_name("4567"))
    damaged.path.mkdir()  # without a run.json
    troubles: list[str] = []
    sender = Sender(uri, tmp_path, troubles.append)
    sender.send(damaged)
    sender.send(recorded)
    assert sender.close(60) == ["4567"]
    assert curves(uri) == [[0, 1, 2]]
    assert len(troubles) == 1
    assert "4567" in troubles[0]


def test_what_changes_again_and_again_is_sent_together_and_the_end_does_not_wait(
    recorded: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.live.SECONDS_BETWEEN_SENDS", 3600.0)
    sent: list[str] = []
    once = threading.Event()
    send = Store.send

    def noting(store: Store, folder: RunFolder) -> None:
        send(store, folder)
        sent.append(folder.path.name)
        once.set()

    monkeypatch.setattr(Store, "send", noting)
    other = RunFolder(recorded.path.with_name("4567"))
    other.write(Run("4567", "pets", "RUNNING", {}, {}))
    sender = Sender(f"sqlite:///{tmp_path}/store.db", tmp_path, pytest.fail)
    sender.send(recorded)
    assert once.wait(60)
    for folder in (other, recorded, other):
        sender.send(folder)
        time.sleep(0.5)  # long enough to be sent, if it were
    assert sent == ["0123"]
    assert sender.close(60) == []
    assert sent == ["0123", "4567", "0123"]


def test_a_deleted_experiment_comes_back(recorded: RunFolder, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/store.db"
    Store(uri, tmp_path).send(recorded)
    client = MlflowClient(uri)
    client.delete_experiment(client.get_experiment_by_name("thaw").experiment_id)
    Store(uri, tmp_path).send(recorded)
    assert client.get_experiment_by_name("thaw").lifecycle_stage == "active"
    assert curves(uri) == [[0, 1, 2]]


def test_a_gap_is_filled_and_nothing_is_sent_twice(
    recorded: RunFolder, tmp_path: Path, empty_store: Path
) -> None:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    file = tmp_path / "results/pets/fit/history.csv"
    whole = file.read_text()
    file.write_text("\n".join(whole.splitlines()[:2] + whole.splitlines()[3:]))  # without epoch 1
    recorded.copy([Path("results/pets/fit/history.csv")], tmp_path)
    store = Store(uri, tmp_path)
    store.send(recorded)
    assert curves(uri) == [[0, 2]]
    assert not [f for f in [recorded] if not store.has(f)]
    file.write_text(whole)
    recorded.copy([Path("results/pets/fit/history.csv")], tmp_path)
    assert not store.has(recorded)
    store.send(recorded)
    assert [sorted(curve) for curve in curves(uri)] == [[0, 1, 2]]
