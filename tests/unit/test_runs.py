"""Run keys, the points of a run's curves, places, published recipes, slots."""

import difflib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from project import ROOT

from pipelines import arrivals, session
from pipelines.arrivals import Arrivals
from pipelines.dvc_params import params_read_once
from pipelines.environment import DEFAULTS, set_defaults
from pipelines.flow_command import temporary_server
from pipelines.graph import Stage, of_recipes, urgencies, with_ancestors
from pipelines.live import LiveRun
from pipelines.places import project_root, tracking_uri
from pipelines.points import Point, points
from pipelines.published import add_published
from pipelines.record import check_parameters
from pipelines.run_key import is_unpinned, run_key
from pipelines.runs import ALIVE, Run, RunFolder, ended_runs, flatten
from pipelines.session import order_of_recipes
from pipelines.slots import Slots, gpus
from pipelines.stage_process import ending, outcome
from pipelines.store import FAILED_STAGE
from pipelines.train import FailedError, stage_tasks, summary
from pipelines.workspace import check_overrides
from stages.common.paths import Paths
from stages.recipe import read_recipes
from thaw.core.errors import UserError
from thaw.core.files import write_json


def make_stage(address: str, needs: tuple[str, ...] = (), **values) -> Stage:
    recipe = address.partition("@")[2]
    params = {f"recipes.{recipe}.{k}": v for k, v in values.pop("params", {}).items()}
    return Stage(
        address=address,
        command=f"python -m stages {address}",
        needs=frozenset(needs),
        params=params,
        ran_with=values.pop("ran_with", None),
        leaves=values.pop("leaves", ()),
        outs={},
        meta=values.pop("meta", {}),
    )


@pytest.fixture
def graph() -> dict[str, Stage]:
    stages = [
        make_stage("fit@a", params={"epochs": 3}, leaves=("code.py",)),
        make_stage("fit@b", needs=("fit@a",), params={"epochs": 5}),
        make_stage("evaluate@b", needs=("fit@b",)),
        make_stage("record@a", needs=("fit@a",)),
        make_stage("record@b", needs=("evaluate@b",)),
    ]
    return {stage.address: stage for stage in stages}


def test_a_recipe_comes_with_the_recipes_that_it_needs(graph) -> None:
    assert list(of_recipes(graph, ["a"])) == ["fit@a", "record@a"]
    assert list(of_recipes(graph, ["b"])) == ["fit@a", "fit@b", "evaluate@b", "record@b"]
    assert list(with_ancestors(graph, ["fit@b"])) == ["fit@a", "fit@b"]


def test_the_run_key_is_of_all_that_the_results_depend_on(graph, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("1")
    first = {recipe: run_key(tmp_path, graph, recipe) for recipe in "ab"}
    assert first["a"] != first["b"]

    changed = graph | {"fit@b": make_stage("fit@b", needs=("fit@a",), params={"epochs": 6})}
    assert run_key(tmp_path, changed, "a") == first["a"]
    assert run_key(tmp_path, changed, "b") != first["b"]
    assert run_key(tmp_path, graph, "b") == first["b"]  # 5, 6, 5 are two runs

    recorder = graph | {"record@b": replace(graph["record@b"], command="another")}
    assert run_key(tmp_path, recorder, "b") == first["b"]

    shown = make_stage("report@b", needs=("evaluate@b",), leaves=("code.py",))
    recorded = make_stage("record@b", needs=("evaluate@b", "report@b"))
    reporter = graph | {"report@b": shown, "record@b": recorded}
    assert run_key(tmp_path, reporter, "b") == first["b"]

    folder = replace(make_stage("fit@b", needs=("fit@a",)), leaves=("code",))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "module.py").write_text("1")
    of_folder = run_key(tmp_path, graph | {"fit@b": folder}, "b")
    (tmp_path / "code" / "__pycache__").mkdir()
    (tmp_path / "code" / "__pycache__" / "module.pyc").write_text("of this Python")
    assert run_key(tmp_path, graph | {"fit@b": folder}, "b") == of_folder
    (tmp_path / "code" / "module.py").write_text("2")
    assert run_key(tmp_path, graph | {"fit@b": folder}, "b") != of_folder

    (tmp_path / "code.py").write_text("22")  # the code of a recipe that b builds on
    assert run_key(tmp_path, graph, "b") != first["b"]


def test_the_run_key_counts_the_code_of_a_stage(graph, tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/fit.py").write_text("import stages.loop\n")
    (tmp_path / "stages/loop.py").write_text("")
    first = run_key(tmp_path, graph, "b")
    (tmp_path / "stages/split.py").write_text("")
    assert run_key(tmp_path, graph, "b") == first
    (tmp_path / "stages/loop.py").write_text("epochs = 1\n")
    assert run_key(tmp_path, graph, "b") != first


@pytest.mark.parametrize(
    ("source", "needs", "unpinned"),
    [
        ("https://host/some.pth", ("code",), True),
        ("https://host/some.pth", (), True),
        ("torchvision:resnet18", ("code",), False),
        ("none", ("code",), False),
        ("models/a/model.safetensors", ("code", "fit@a"), False),
    ],
)
def test_weights_that_nothing_pins(source: str, needs: tuple[str, ...], unpinned: bool) -> None:
    stage = make_stage("weights@b", needs, params={"weights": {"source": source}})
    assert is_unpinned(stage) == unpinned


def test_params_are_found_as_dvc_finds_them(tmp_path: Path) -> None:
    from dvc.dependency.param import read_param_file
    from dvc.fs import localfs

    file = tmp_path / "params.yaml"
    file.write_text("a: {b: [1, {c: 2}], d: ~, 'e.f': 3}\n4: {5: six}\n")
    keys = ["a", "a.b", "a.b.1.c", "a.d", "a.d.x", "a.e.f", "a.b*", "4.5", "nothing.here"]
    by_dvc = read_param_file(localfs, str(file), keys, flatten=True)
    assert {"a.b.1.c", "a.d"} <= by_dvc.keys()
    with params_read_once():
        assert read_param_file(localfs, str(file), keys, flatten=True) == by_dvc
    file.write_text("a: 1\n")
    assert read_param_file(localfs, str(file), ["a"], flatten=True) == {"a": 1}


def test_what_nothing_pins_counts_by_its_content(tmp_path: Path) -> None:
    def key(**download: str) -> str:
        fetch = replace(
            make_stage("download@a", params={"download": {"url": "a.tgz", **download}}),
            outs={"data/a/archive": None},
        )
        graph = {s.address: s for s in (fetch, make_stage("record@a", needs=("download@a",)))}
        return run_key(tmp_path, graph, "a")

    archive = tmp_path / "data/a/archive/a.tgz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"monday")
    monday, pinned = key(), key(sha256="0" * 64)
    archive.write_bytes(b"tuesday")
    assert key() != monday
    assert key(sha256="0" * 64) == pinned
    archive.write_bytes(b"monday")
    assert key() == monday


def test_points_are_read_from_every_history(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        file = tmp_path / "results" / "pets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("fit_frozen/history.csv", "epoch,train_loss,roc\n0,0.5,\n1,0.25,0.75\n")
    write("fit_frozen/batches.csv", "step,loss,lr\n0,2.0,1e-3\n")
    write("lr_frozen/curve.csv", "lr,smoothed\n1e-07,3.5\n2e-07,3.25\n")
    write("fit_frozen/timing.json", json.dumps({"key": "x", "seconds": 3.5, "rate": 9.0}))
    write("pack/metrics.json", json.dumps({"images": 12}))
    write("evaluate/metrics.json", json.dumps({"valid/error_rate": 0.25}))
    write("evaluate/per_class.csv", "class,recall\ncat,0.5\n")
    assert sorted(points(tmp_path)) == [
        Point("fit_frozen/batch/loss", 0, 2.0),
        Point("fit_frozen/batch/lr", 0, 1e-3),
        Point("fit_frozen/roc", 1, 0.75),
        Point("fit_frozen/train_loss", 0, 0.5),
        Point("fit_frozen/train_loss", 1, 0.25),
        Point("lr_frozen/lr", 0, 1e-7),
        Point("lr_frozen/lr", 1, 2e-7),
        Point("lr_frozen/smoothed", 0, 3.5),
        Point("lr_frozen/smoothed", 1, 3.25),
        Point("pack/images", 0, 12.0),
        Point("seconds/fit_frozen", 0, 3.5),
        Point("valid/error_rate", 0, 0.25),
    ]


def test_parameters_are_flattened_to_text() -> None:
    nested = {"seed": 1, "model": {"arch": "resnet18", "y_range": [-1.0, 1.0], "range": None}}
    assert flatten(nested) == {
        "seed": "1", "model.arch": "resnet18", "model.y_range": "[-1.0, 1.0]",
        "model.range": "null",
    }  # fmt: skip


def test_a_run_folder_says_what_it_holds_and_who_has_it(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "history.csv").write_text("epoch\n")
    folder = RunFolder(tmp_path / "runs" / "key")
    folder.copy([Path("results/history.csv")], tmp_path)
    folder.write(Run("key", "pets", "RUNNING", {"seed": "1"}, {"commit": "c", "flow": "f"}))
    folder.write(Run("key", "pets", "FINISHED", {"seed": "1"}, {"commit": "d"}))
    assert folder.read().tags == {"commit": "d", "flow": "f"}
    assert folder.files() == [Path("results/history.csv")]
    assert not folder.sent_to("sqlite:///x")
    folder.note_sent("sqlite:///x", folder.state())
    folder.note_sent("http://user:secret@host:5000", "other")
    assert "secret" not in (folder.path / "sent.json").read_text()
    assert folder.sent_to("sqlite:///x")
    assert not folder.sent_to("http://other")
    (tmp_path / "results" / "history.csv").write_text("epoch\n0\n")
    folder.copy([Path("results/history.csv")], tmp_path)
    assert not folder.sent_to("sqlite:///x")


def test_a_run_that_failed_before_it_began_has_no_files(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "key")
    folder.write(Run("key", "pets", "FAILED", {}, {}))
    assert folder.files() == []
    folder.note_sent("http://here", folder.state())
    assert folder.sent_to("http://here")


def test_a_run_returned_to_stays_as_it_was(tmp_path: Path) -> None:
    file, folder = Path("results/pets/fit/history.csv"), RunFolder(tmp_path / "runs" / "key")
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("epoch\n0\n1\n")
    folder.copy([file], tmp_path)
    folder.write(Run("key", "pets", "RUNNING", {}, {"failed": "fit", "commit": "c"}))
    assert folder.read().began
    assert not folder.is_finished_with([file], tmp_path)
    folder.write(Run("key", "pets", "FINISHED", {}), without=["failed"])
    first = folder.read()
    assert (first.tags, bool(first.ended)) == ({"commit": "c"}, True)
    assert folder.is_finished_with([file], tmp_path)
    folder.write(Run("key", "pets", "FINISHED", {}))
    assert folder.read() == first

    # A fit that begins anew takes nothing back; another result replaces it.
    (tmp_path / file).write_text("epoch\n0\n")
    folder.copy([file], tmp_path)
    assert (folder.path / "files" / file).read_text() == "epoch\n0\n1\n"
    assert not folder.is_finished_with([file], tmp_path)
    (tmp_path / file).write_text("epoch\n7\n")
    folder.copy([file], tmp_path)
    assert (folder.path / "files" / file).read_text() == "epoch\n7\n"


def test_results_of_other_parameters_are_not_recorded() -> None:
    ran = {"recipes.a.fit": {"epochs": 3}}
    graph = {
        "fit@a": make_stage("fit@a", params={"fit": {"epochs": 3}}, ran_with=ran),
        "record@a": make_stage("record@a", needs=("fit@a",)),
    }
    check_parameters(graph, "a")
    graph["fit@a"] = make_stage("fit@a", params={"fit": {"epochs": 4}}, ran_with=ran)
    with pytest.raises(UserError, match=r"recipes\.a\.fit is not what fit@a ran with"):
        check_parameters(graph, "a")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["recipes.pets_sample.fit_frozen.epochz=1"], "has no 'epochz' there; did you mean 'epoch"),
        (["recipes.pets_sampel.seed=1"], "has no 'pets_sampel' there; did you mean 'pets_sample'"),
        (["seed=1"], "write recipes.RECIPE.KEY=VALUE"),
        (["recipes.pets_sample.seed"], "write recipes.RECIPE.KEY=VALUE"),
        (["recipes.pets_sample.seed=1,2"], r"recipes.pets_sample.seed=1,2: .*A list is written \["),
    ],
)
def test_overrides_that_fit_nothing_are_refused(overrides: list[str], told: str) -> None:
    before = (ROOT / "params.yaml").read_text()
    with pytest.raises(UserError, match=told):
        check_overrides(ROOT / "params.yaml", overrides)
    check_overrides(ROOT / "params.yaml", ["recipes.pets_sample.fit_unfrozen.lr=[1e-5, 1e-3]"])
    assert (ROOT / "params.yaml").read_text() == before


@pytest.mark.parametrize("inside", ["", ".dvc/tmp/exps/tmp1", ".thaw/workspaces/0a1b"])
def test_runs_belong_to_the_project_from_wherever_they_are_made(
    tmp_path: Path, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert project_root(tmp_path / inside) == tmp_path
    assert tracking_uri(tmp_path / inside) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert tracking_uri(tmp_path / inside) == "http://127.0.0.1:1"
    for given, wanted in {
        "sqlite:///other.db": f"sqlite:///{tmp_path}/other.db",
        "sqlite:////there/other.db": "sqlite:////there/other.db",
        "some/folder": f"{tmp_path}/some/folder",
    }.items():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        assert tracking_uri(tmp_path / inside) == wanted


def test_a_published_recipe_is_added_by_one_line(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text()
    file.write_text(before)
    added = add_published(file, ["pets_sample", "pets", "movielens"])
    assert added == ["pets: *pets", "movielens: *movielens"]
    changes = [
        line
        for line in difflib.ndiff(before.splitlines(), file.read_text().splitlines())
        if not line.startswith("  ")
    ]
    assert [line for line in changes if line.strip() != "+"] == [f"+   {line}" for line in added]
    recipes, old = read_recipes(file), read_recipes(ROOT / "params.yaml")
    assert set(recipes) == {*old, "pets", "movielens"}
    assert recipes["pets"]["model"]["arch"] == "resnet34"
    assert {name: recipes[name] for name in old} == old
    assert add_published(file, ["pets"]) == []


def test_a_recipe_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text((ROOT / "params.yaml").read_text())
    with pytest.raises(UserError, match="no recipe petz; did you mean 'pets'"):
        add_published(file, ["pets", "petz"])
    assert file.read_text() == (ROOT / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["petz"], "params.yaml: no recipe petz; did you mean 'pets'?"),
        (["pets", "-S", "recipes.pets.seed=1"], "pets: not under `recipes:` of params.yaml"),
        (["pets_sample", "--jobs", "0"], "jobs: 0 stages at once. Give 1 or more"),
    ],
)
def test_a_flow_refuses_what_cannot_be_before_it_imports_prefect(
    arguments: list[str], said: str
) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "pipelines.train", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(said)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pydantic" in imported
    assert "prefect" not in imported


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1/api"])
def test_only_a_server_of_ones_own_is_told_of_heartbeats(url: str) -> None:
    with temporary_settings({PREFECT_API_URL: url or None}), temporary_server():
        assert (get_current_settings().flows.heartbeat_frequency is None) == (not url)


def test_training_is_limited_by_cores_and_gpus() -> None:
    two_threads = make_stage("fit@a", params={"threads": 2}, meta={"gpu": 1})
    light = make_stage("split@a")
    slots, stop = Slots(jobs=3, cores=2, gpus=["0", "1"]), threading.Event()
    began = threading.Event()

    def train() -> None:
        with slots.take(two_threads, stop) as gpus:
            assert gpus == ["0"]
            began.set()

    with slots.take(two_threads, stop) as mine, slots.take(light, stop) as none:
        assert (mine, none) == (["0"], [])
        other = threading.Thread(target=train)
        other.start()
        assert not began.wait(0.3)  # a GPU and a job are free, the cores are not
    other.join(10)
    assert began.is_set()


def test_what_most_waits_for_comes_first() -> None:
    slots, stop, order = Slots(jobs=1, cores=2, gpus=[]), threading.Event(), []

    def work(urgency: tuple[int, int]) -> None:
        with slots.take(make_stage("split@a"), stop, urgency):
            order.append(urgency)

    with slots.take(make_stage("split@a"), stop):
        threads = [
            threading.Thread(target=work, args=[urgency]) for urgency in ((1, 0), (30, -2), (1, 7))
        ]
        for thread in threads:
            thread.start()
        while len(slots._waiting) < 3:
            time.sleep(0.01)
    for thread in threads:
        thread.join(10)
    assert order == [(30, -2), (1, 7), (1, 0)]


def test_what_the_most_urgent_one_waits_for_is_kept_for_it() -> None:
    slots, stop, order = Slots(jobs=4, cores=2, gpus=[]), threading.Event(), []

    def train(name: str, threads: int, urgency: tuple[int]) -> None:
        stage = make_stage(name, params={"threads": threads}, meta={"gpu": 1})
        with slots.take(stage, stop, urgency):
            order.append(name)
            time.sleep(0.1)

    asked = [("fit@large", 2, (9,)), ("fit@a", 1, (3,)), ("fit@b", 1, (2,))]
    threads = [threading.Thread(target=train, args=arguments) for arguments in asked]
    one = make_stage("fit@one", params={"threads": 1}, meta={"gpu": 1})
    with slots.take(one, stop):
        for thread in threads:
            thread.start()
        while len(slots._waiting) < 3:
            time.sleep(0.01)
        time.sleep(0.3)
        assert order == []  # a core is free, for which the large one waits
        with slots.take(make_stage("look@a"), stop):  # what needs no core goes on
            pass
    for thread in threads:
        thread.join(10)
    assert order[0] == "fit@large"
    assert sorted(order[1:]) == ["fit@a", "fit@b"]


def test_recipes_are_in_the_order_of_the_file() -> None:
    text = (ROOT / "params.yaml").read_text()
    names = order_of_recipes(ROOT)
    assert names == sorted(names, key=lambda name: text.index(f"\n  {name}:"))
    assert names[0] == "source_sample"
    assert len(names) == 9


def test_a_stage_lets_a_more_urgent_one_pass_that_can_begin_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrivals, "PATIENCE", 600)
    needs = {
        "known": [], "code": [], "a@x": ["code"], "a@y": ["code"], "b@y": ["a@y"], "a@z": ["known"]
    }  # fmt: skip
    graph = {address: make_stage(address, needs=those) for address, those in needs.items()}
    urgent = {"a@z": (6,), "code": (5,), "a@y": (4,), "b@y": (3,), "a@x": (1,), "known": (0,)}
    coming = Arrivals(graph, set(graph) - {"known"}, urgent)
    begun: list[str] = []

    def begin(address: str) -> threading.Thread:
        def work() -> None:
            with coming.turn(address):
                begun.append(address)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    begin("code").join()  # not a@z: what that needs is unchanged, but was not yet looked at
    begin("known").join()
    waiting = begin("a@x")
    begin("a@z").join()
    waiting.join(0.2)
    assert begun == ["code", "known", "a@z"]  # it waits for a@y, which can begin
    with coming.turn("a@y"):  # and not for b@y, which cannot
        waiting.join()
    assert begun[-1] == "a@x"


def test_a_stage_waits_in_vain_only_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "PATIENCE", 0.1)
    graph = {address: make_stage(address) for address in ("a@x", "a@y")}
    coming = Arrivals(graph, set(graph), {"a@x": (1,), "a@y": (2,)})
    began = time.monotonic()
    with coming.turn("a@x"):
        assert time.monotonic() - began >= 0.1


def test_each_task_of_a_flow_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []

    class Noted:
        def __init__(self, *_: object) -> None:
            pass

        @contextmanager
        def turn(self, address: str) -> Iterator[None]:
            turns.append(address)
            yield

    monkeypatch.setattr("pipelines.train.Arrivals", Noted)
    graph = {"split@x": make_stage("split@x")}
    flow = SimpleNamespace(graph=graph, stale={"split@x"}, urgencies={}, work=lambda stage: "Ran")
    assert stage_tasks(flow)["split"].fn("split@x").name == "Ran"
    assert turns == ["split@x"]


def test_a_session_asks_for_slots_by_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    class Asked:
        @contextmanager
        def take(self, stage: Stage, stop: threading.Event, urgency: tuple) -> Iterator[list]:
            asked[stage.address] = urgency
            yield []

    needs = {
        "code": [], "weights@source_sample": ["code"], "split@biwi_sample": ["code"],
        "weights@biwi_sample": ["weights@source_sample"], "split@pets_sample": ["code"],
    }  # fmt: skip
    graph = {address: make_stage(address, needs=those) for address, those in needs.items()}
    monkeypatch.setattr(session, "run_stage", lambda *arguments, **options: "Ran")
    monkeypatch.setattr(session, "get_run_logger", lambda: logging.getLogger("test"))
    shared = SimpleNamespace(
        slots=Asked(), stop=threading.Event(), unseen=threading.Event(), worker=None,
        sender=SimpleNamespace(uri=""), flow_run_id="1",
    )  # fmt: skip
    work = session.Session(ROOT, graph, set(graph), set(), {}, shared).work
    assert [work(stage) for stage in graph.values()] == ["Ran"] * 5
    assert sorted(asked, key=asked.__getitem__, reverse=True) == [
        "code", "weights@source_sample", "split@pets_sample", "split@biwi_sample",
        "weights@biwi_sample",
    ]  # fmt: skip


def test_the_largest_rank_is_of_what_other_recipes_wait_for_then_of_the_first_recipe() -> None:
    needs = {
        "code": [], "a@x": ["code"], "b@x": ["a@x"], "c@x": ["a@x"], "d@x": ["b@x", "c@x", "z@w"],
        "a@y": ["code"], "b@y": ["a@y", "b@x"], "c@y": ["b@y"],
    }  # fmt: skip
    graph = {address: make_stage(address, needs=those) for address, those in needs.items()}
    ranks = urgencies(graph, ["y", "x"])
    assert ranks["a@x"] == (2, -1, 3)  # b@y and c@y wait for it; d@x counts once
    assert sorted(ranks, key=ranks.__getitem__, reverse=True) == [
        "code", "a@x", "b@x", "a@y", "b@y", "c@y", "c@x", "d@x"
    ]  # fmt: skip


def test_what_does_not_train_needs_no_core() -> None:
    fit = make_stage("fit@a", params={"threads": 2}, meta={"gpu": 1})
    look = make_stage("look@a", params={"threads": 2})
    slots, stop = Slots(jobs=2, cores=2, gpus=[]), threading.Event()
    with slots.take(fit, stop), slots.take(look, stop):
        pass


def test_a_stage_that_wants_more_than_there_is_gets_all() -> None:
    greedy = make_stage("fit@a", params={"threads": 64}, meta={"gpu": 4})
    with Slots(jobs=1, cores=2, gpus=["3"]).take(greedy, threading.Event()) as mine:
        assert mine == ["3"]


@pytest.mark.parametrize(
    ("visible", "names"),
    [("0,2", ["0", "2"]), ("", []), ("-1", []), ("GPU-1a2b, MIG-3c", ["GPU-1a2b", "MIG-3c"])],
)
def test_visible_gpus_keep_their_names(
    visible: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus() == names


def test_what_dvc_did_is_read_from_its_words() -> None:
    assert outcome("Running stage 'fit@a':\n> python") == "Ran"
    assert outcome("Stage 'fit@a' is cached - skipping run, checking out outputs") == "Restored"
    assert outcome("Stage 'fit@a' didn't change, skipping") == "Unchanged"
    with pytest.raises(UserError, match="DVC says nothing"):
        outcome("Welcome to a new DVC")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, "exit code 1"),
        (75, "exit code 75"),
        (255, "exit code 255"),
        # bash hands on the signal of what it became, dash its number and 128.
        (-9, "SIGKILL"),
        (137, "SIGKILL"),
        (143, "SIGTERM"),
    ],
)
def test_an_end_by_a_signal_is_told_the_same_in_every_shell(code: int, words: str) -> None:
    assert ending(code) == words


def test_a_summary_counts_what_was_done_and_tells_a_failure_once() -> None:
    from prefect.states import Completed, Failed, Pending

    done = {"a@x": Completed(name="Ran"), "b@x": Completed(name="Unchanged")}
    assert summary(done) == "1 Ran, 1 Unchanged."
    states = done | {
        "c@y": Failed(data=ValueError("same reason")),
        "d@y": Failed(data=ValueError("same reason")),
        "e@y": Pending(name="NotReady"),
    }
    with pytest.raises(FailedError) as told:
        summary(states)
    assert str(told.value).count("same reason") == 1
    assert "2 stages failed; done: 1 Ran, 1 Unchanged." in str(told.value)
    assert "Not begun for it: e@y." in str(told.value)


@pytest.mark.parametrize("name", ["Crashed", "Cancelled"])
def test_a_stage_that_did_not_end_by_itself_is_no_success(name: str) -> None:
    from prefect import states

    ended = {
        "a@x": states.Completed(name="Ran"),
        "b@x": getattr(states, name)(message="the reason"),
        "c@x": states.Pending(name="NotReady"),
    }
    with pytest.raises(FailedError, match="1 stage failed; done: 1 Ran"):
        summary(ended)


def running(root: Path, key: str) -> RunFolder:
    folder = RunFolder(root / ".thaw/runs" / key)
    folder.write(Run(key, "pets", "RUNNING", {}))
    return folder


def test_a_run_whose_flow_is_gone_was_killed(tmp_path: Path) -> None:
    left, alive = running(tmp_path, "left"), running(tmp_path, "alive")
    with FileLock(alive.path / ALIVE):
        assert [folder.path for folder in ended_runs(tmp_path)] == [left.path]
    assert (left.read().status, alive.read().status) == ("KILLED", "RUNNING")
    assert left.read().ended


class Unsent:
    """Stands in for the thread that sends; keeps what it was given."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, folder: RunFolder) -> None:
        self.sent.append(folder.read().status)


@pytest.fixture
def sender() -> Unsent:
    return Unsent()


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sender: Unsent) -> LiveRun:
    """A run of a recipe that has nothing but a stage that shows its parameters."""
    monkeypatch.chdir(tmp_path)
    stage = make_stage("report@a")
    stage.params["recipes.a"] = {}
    return LiveRun(tmp_path, {"report@a": stage}, "a", "", sender)


def write_history_row(number: int) -> None:
    """Add an epoch to the history of the fit, with a time of its own."""
    history = Paths("a").result("fit", "history.csv")
    history.parent.mkdir(parents=True, exist_ok=True)
    with history.open("a") as file:
        file.write(f"{number}\n" if number else "epoch\n0\n")
    os.utime(history, ns=(number + 1, number + 1))


def test_what_comes_after_the_end_of_a_run_is_not_told(live: LiveRun, sender: Unsent) -> None:
    write_history_row(0)
    live.follow("fit", 0)
    live.end("KILLED")
    write_history_row(1)
    live.follow("fit", 0)
    assert sender.sent == ["RUNNING", "KILLED"]
    assert live.folder.read().status == "KILLED"
    with FileLock(live.folder.path / ALIVE, timeout=0):  # let go of
        pass


@pytest.mark.parametrize(("key", "status"), [(None, "FINISHED"), ("another", "KILLED")])
def test_a_run_is_finished_if_the_recorded_results_are_its_own(
    live: LiveRun, key: str | None, status: str
) -> None:
    write_history_row(0)
    live.follow("fit", 0)
    write_json(Paths("a").run, {"key": key or live.folder.path.name})
    live.end()
    assert live.folder.read().status == status


def test_a_run_that_failed_once_and_then_was_finished_did_not_fail(live: LiveRun) -> None:
    live.end("FAILED", **{FAILED_STAGE: "download"})
    again = LiveRun(live._root, live._graph, "a", "", Unsent())
    assert not again.is_finished
    write_history_row(0)
    again.follow("fit", 0)
    write_json(Paths("a").run, {"key": again.folder.path.name})
    again.end()
    assert again.is_finished
    assert FAILED_STAGE not in again.folder.read().tags


def test_tools_are_told_to_send_nothing_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in DEFAULTS:
        monkeypatch.setenv(name, "known to monkeypatch, which so takes away what is set below")
        monkeypatch.delenv(name)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "0")
    set_defaults()
    told = {name: os.environ[name] for name in DEFAULTS}
    assert told == DEFAULTS | {"DVC_NO_ANALYTICS": "0"}
    assert told["DO_NOT_TRACK"] == "true"
    assert told["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
