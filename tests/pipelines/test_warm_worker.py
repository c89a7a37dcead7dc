"""Stages in forks of a warm worker do what stages do without one."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from flows import FLOW
from project import ROOT, Project, environment, tiny_recipe
from servers import until
from test_dvc import output_hashes

from pipelines import changes
from stages.warm import (
    DEFAULT_ADDRESS,
    LOG,
    is_served,
    is_taken,
    kind_of_process,
    run_warm,
    start,
)

WORKER = [sys.executable, "-m", "pipelines.warm_worker"]


@contextmanager
def warm_worker(project: Project) -> Iterator[psutil.Process]:
    """Run a worker as a user starts it by hand."""
    with subprocess.Popen(
        WORKER, cwd=project.folder, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert "are forked from here now" in process.stdout.readline()
            yield psutil.Process(process.pid)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert not (project.folder / ".thaw/worker").exists()


@pytest.fixture(scope="module")
def cold(new_project: Callable[[], Project], shapes_archive: Path) -> Project:
    """A project trained without a worker."""
    project = new_project()
    project.write_recipes({"tiny": tiny_recipe(shapes_archive)})
    project.run("dvc", "repro", "evaluate@tiny", THAW_WORKER="none")
    return project


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Project], shapes_archive: Path) -> Project:
    project = new_project()
    project.write_recipes({"tiny": tiny_recipe(shapes_archive)})
    return project


@pytest.fixture(scope="module")
def worker(project: Project) -> Iterator[psutil.Process]:
    with warm_worker(project) as process:
        yield process


@pytest.fixture(scope="module")
def warm(project: Project, worker: psutil.Process) -> Project:
    """The project, trained by the worker."""
    project.run("dvc", "repro", "evaluate@tiny")
    return project


def test_dvc_repro_makes_the_same_bytes(warm: Project, cold: Project) -> None:
    assert output_hashes(warm) == output_hashes(cold)
    assert (warm.folder / "dvc.lock").read_text() == (cold.folder / "dvc.lock").read_text()


@pytest.mark.parametrize(
    "arguments", [["check"], ["split"], ["split", "nobody"], ["evaluate", "tiny"], ["nothing"]]
)
def test_output_and_exit_code_are_the_same(
    warm: Project, cold: Project, arguments: list[str]
) -> None:
    done, without = (p.run("python", "-m", "stages", *arguments, ok=False) for p in (warm, cold))
    assert (done.returncode, done.stdout, done.stderr) == (
        without.returncode, without.stdout, without.stderr,
    )  # fmt: skip


def run_probe(
    project: Project, code: str, *options: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a module, written for it, in a fork of the project's worker, in another folder.

    Args:
        project: with a worker.
        code: of the module.
        options: of the command `env`, by which it is asked for.
        env: variables.
    """
    folder = project.folder / "probe"
    folder.mkdir(exist_ok=True)
    (folder / "probe.py").write_text(textwrap.dedent(code))
    run = (
        "import sys; sys.path.insert(0, '..'); from stages.warm import run_warm; sys.path.pop(0); "
        "sys.exit(run_warm('probe', ['an argument']))"
    )
    return project.run(
        "env", "--chdir=probe", *options, sys.executable, "-c", run, ok=False,
        THAW_WORKER="../.thaw/worker", **env,
    )  # fmt: skip


def test_a_client_killed_before_it_reads_the_answer_leaves_nothing(
    project: Project, worker: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project.folder / "sleeper"
    folder.mkdir()
    noted = folder / "pid"
    code = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
    (folder / "sleeper.py").write_text(f"{code}time.sleep(600)\n")

    def be_killed(*_: object) -> bytes:
        until(lambda: noted.exists() and noted.read_text(), "fork")
        raise ConnectionAbortedError  # the answer stays unread, so that the line is reset

    monkeypatch.setattr("stages.warm._receive", be_killed)
    address = project.folder / ".thaw/worker"
    assert start(address, "sleeper", [], cwd=folder, environment=environment()) is None
    until(lambda: not psutil.pid_exists(int(noted.read_text())), "end of the fork", 60)


def test_a_fork_has_its_clients_folder_environment_limits_and_arguments(
    project: Project, worker: psutil.Process
) -> None:
    done = run_probe(
        project,
        """
        import json, os, resource, sys
        print(json.dumps([
            os.getcwd(), os.environ["GIVEN"], "SHLVL" in os.environ, sys.argv[1:],
            resource.getrlimit(resource.RLIMIT_NOFILE)[0], __name__, sys.path[0],
        ]))
        print("to standard error", file=sys.stderr)
        sys.exit(7)
        """,
        GIVEN="here",
    )
    folder = str(project.folder / "probe")
    files = psutil.Process().rlimit(psutil.RLIMIT_NOFILE)[0]
    assert json.loads(done.stdout) == [
        folder, "here", "SHLVL" in os.environ, ["an argument"], files, "__main__", folder,
    ]  # fmt: skip
    assert (done.stderr, done.returncode) == ("to standard error\n", 7)


@pytest.mark.parametrize("ignored", [[], ["HUP"], ["INT", "TERM"]])
def test_a_fork_ignores_the_signals_that_its_client_was_told_to_ignore(
    project: Project, worker: psutil.Process, ignored: list[str]
) -> None:
    done = run_probe(
        project,
        """
        import json, signal
        signals = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
        print(json.dumps([n.name for n in signals if signal.getsignal(n) == signal.SIG_IGN]))
        """,
        *(
            f"--{'ignore' if name in ignored else 'default'}-signal={name}"
            for name in ("HUP", "INT", "TERM")
        ),
    )
    assert json.loads(done.stdout) == [f"SIG{name}" for name in ignored]


def test_an_uncaught_error_is_shown(project: Project, worker: psutil.Process) -> None:
    done = run_probe(project, "raise ValueError('of ours')")
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: of ours\n")


def test_a_fork_does_what_its_module_left_for_the_end_and_no_more(
    project: Project, worker: psutil.Process
) -> None:
    done = run_probe(
        project,
        """
        import atexit, json, os, sys, tempfile, weakref
        leave, known = os._exit, set(sys.modules)
        of_packages = [str(end) for end in weakref.finalize._registry if end.atexit]
        folder = tempfile.TemporaryDirectory()
        atexit.register(print, "at the end")

        def show(code):
            imported_for_the_end = sorted(set(sys.modules) - known)
            print(json.dumps([of_packages, imported_for_the_end, os.path.exists(folder.name)]))
            sys.stdout.flush()
            leave(code)

        os._exit = show
        """,
    )
    assert done.stdout.splitlines() == ["at the end", "[[], [], false]"], done.stderr


def test_edited_code_is_seen_by_the_next_stage(project: Project, worker: psutil.Process) -> None:
    for text in ("one", "another"):
        assert run_probe(project, f"print('{text}')").stdout == f"{text}\n"


def test_a_worker_has_imported_all_that_stages_and_dvc_import(warm: Project) -> None:
    done = run_probe(
        warm,
        """
        import os, pathlib, runpy, sys
        os.chdir("..")
        sys.path[0] = os.getcwd()
        before = set(sys.modules)
        stages = ["untar", "weights", "split", "pack", "look", "lr_frozen", "fit_frozen",
                  "lr_unfrozen", "fit_unfrozen", "threshold", "evaluate", "interpret"]
        for stage in stages:
            sys.argv = ["", stage, "tiny"]
            try:
                runpy.run_module("stages.command", run_name="__main__")
            except SystemExit as end:
                assert not end.code, stage
        from dvc.cli import main
        assert main(["repro", "--single-item", "--force", "evaluate@tiny"]) == 0
        for name in sorted(set(sys.modules) - before):
            if "site-packages" in (getattr(sys.modules[name], "__file__", None) or ""):
                print("NEW", name)
        """,
    )
    assert done.returncode == 0, done.stderr
    new = [line for line in done.stdout.splitlines() if line.startswith("NEW ")]
    assert new == []


@pytest.mark.parametrize(
    ("number", "code", "streams"),
    [
        (signal.SIGINT, 130, ""),
        (signal.SIGTERM, -15, ""),
        (signal.SIGKILL, -9, ""),
        (signal.SIGKILL, -9, "<&-"),  # closed: the line to the worker must not stand in for it
    ],
)
def test_a_signal_ends_client_and_fork(
    warm: Project, worker: psutil.Process, number: signal.Signals, code: int, streams: str
) -> None:
    recipe = tiny_recipe(Path("unused"))
    recipe["fit_frozen"]["epochs"] = 20_000
    before = (warm.folder / "params.yaml").read_text()
    try:
        warm.write_recipes({"tiny": recipe})
        client = subprocess.Popen(
            ["sh", "-c", f'exec "{sys.executable}" -m stages fit_frozen tiny {streams}'],
            cwd=warm.folder, env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert client.stdout.readline().startswith(("epoch ", "resuming "))
        until(lambda: worker.children(recursive=True), "fork")
        client.send_signal(number)
        assert client.wait(60) == code
        until(lambda: not worker.children(recursive=True), "end of the fork")
        if number == signal.SIGINT:
            assert client.stderr.read().endswith("fit_frozen tiny: interrupted.\n")
    finally:
        (warm.folder / "params.yaml").write_text(before)


@pytest.mark.parametrize(
    ("command", "served"),
    [
        ([], True),
        (["env", "OMP_NUM_THREADS=1"], False),
        (["nice", "-n", "1"], False),
        (["env", "TZ=Asia/Tokyo"], True),
    ],
)
def test_a_worker_that_would_do_otherwise_is_not_used(
    project: Project, worker: psutil.Process, command: list[str], served: bool
) -> None:
    ask = "import sys, stages.warm as w; print(w.is_served(w.DEFAULT_ADDRESS))"
    assert project.run(*command, sys.executable, "-c", ask).stdout == f"{served}\n"


def test_a_worker_of_other_cores_is_not_used(project: Project, worker: psutil.Process) -> None:
    mine = worker.cpu_affinity()
    kind = kind_of_process(os.environ)
    assert kind["cores"] == mine
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.warm.kind_of_process", lambda _: kind | {"cores": [*mine, 1000]})
        assert not is_served(project.folder / DEFAULT_ADDRESS)


def test_a_worker_of_other_packages_is_not_used(
    project: Project, worker: psutil.Process, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = Path(os.path.relpath(project.folder / DEFAULT_ADDRESS))
    assert is_served(address)
    assert not is_served(address.with_name("nobody"))
    (tmp_path / "site-packages" / "new-1.0.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site-packages")])
    assert not is_served(address)


def test_a_stopped_worker_is_not_waited_for(
    project: Project, worker: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = project.folder / DEFAULT_ADDRESS
    worker.suspend()
    try:
        asking = subprocess.Popen(
            [sys.executable, "-m", "stages", "check"], cwd=project.folder, env=environment(),
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until(lambda: len(psutil.Process(asking.pid).net_connections("unix")) > 0, "question")
        asking.send_signal(signal.SIGINT)
        assert asking.wait(60) == 130
        assert asking.stderr.readline() == "interrupted.\n"  # which the worker has as well
        monkeypatch.setattr("stages.warm.PATIENCE", 0.3)
        assert not is_served(address)
        assert is_taken(address)
    finally:
        worker.resume()
    monkeypatch.undo()
    assert is_served(address)


def test_what_a_worker_cannot_become_it_refuses(project: Project, worker: psutil.Process) -> None:
    address = project.folder / DEFAULT_ADDRESS
    assert start(address, "stages.warm", [], cwd=project.folder / "removed") is None


def test_a_process_that_was_refused_has_no_second_worker_started(
    project: Project, worker: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("THAW_WORKER", raising=False)
    monkeypatch.setattr("stages.warm.dvc_above", os.getpid)
    monkeypatch.setattr("stages.warm.start_worker", lambda until: pytest.fail("another worker"))
    assert run_warm("this", []) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_is_ended_while_it_imports_leaves_nothing(
    new_project: Callable[[], Project], number: signal.Signals
) -> None:
    folder = new_project().folder
    with subprocess.Popen(
        WORKER, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    ) as starting:
        until((folder / DEFAULT_ADDRESS).exists, "socket")
        starting.send_signal(number)
        assert starting.communicate(timeout=60) == (None, "")
    assert starting.returncode == 0
    assert not (folder / DEFAULT_ADDRESS).exists()


def test_a_worker_is_started_in_a_project(tmp_path: Path) -> None:
    done = subprocess.run(
        WORKER, cwd=tmp_path, env=environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "There is no dvc.yaml here. Start the worker in the project's folder.\n"
    assert not list(tmp_path.iterdir())


def test_a_flow_takes_the_worker_that_is_named_or_none(
    project: Project, worker: psutil.Process, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = project.folder / DEFAULT_ADDRESS
    monkeypatch.chdir(project.folder)
    for named, stages, found in (
        ("", 1, address), ("none", 9, None), (str(address), 1, address), ("", 0, None),
    ):  # fmt: skip
        monkeypatch.setenv("THAW_WORKER", named)
        with changes.some_worker(tmp_path, stages) as taken:
            assert taken == found


def test_a_worker_in_a_deep_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 30)
    (deep / DEFAULT_ADDRESS.parent).mkdir(parents=True)
    monkeypatch.chdir(deep)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(DEFAULT_ADDRESS))
        listener.listen()
        assert is_taken(changes.by_hand())
    monkeypatch.chdir(tmp_path)
    assert changes.by_hand() == tmp_path / DEFAULT_ADDRESS


def test_one_worker_is_enough(project: Project, worker: psutil.Process) -> None:
    done = project.run(*WORKER, ok=False)
    assert done.returncode == 1
    assert done.stderr == ".thaw/worker: a warm worker is at it already. One is enough.\n"


ASKED_BY_DVC = """
import sys
from stages.warm import run_warm
code = run_warm("probe", [])
print("without" if code is None else "with", "a worker")
"""
PROBE = """
import sys, time
print("torch is there:", "torch" in sys.modules, flush=True)
time.sleep({seconds})
"""


FOR_A_WORKER = "until [ -S .thaw/worker ]; do sleep 0.1; done"


def write_two_stages(project: Project, wait: str, seconds: float = 0) -> None:
    """A pipeline whose two stages ask for a fork, with a wait between; the second one's lasts."""
    (project.folder / "ask.py").write_text(ASKED_BY_DVC)
    (project.folder / "probe.py").write_text(PROBE.format(seconds=seconds))
    (project.folder / "dvc.yaml").write_text(
        "stages:\n"
        f"  first: {{cmd: ['python ask.py', '{wait}']}}\n"
        f"  second: {{cmd: python ask.py, deps: [probe.py], desc: after {seconds} s}}\n"
    )


def workers(project: Project) -> list[psutil.Process]:
    """The workers that serve the project's folder until a process ends."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if "--until" in (process.info["cmdline"] or [])
        and process.info["cwd"] == str(project.folder)
    ]


def test_dvc_repro_has_a_worker_from_the_second_stage_on(
    new_project: Callable[[], Project],
) -> None:
    project = new_project()
    write_two_stages(project, FOR_A_WORKER)
    said = project.run("dvc", "repro").stdout
    first, second = said.split("Running stage 'second'")
    assert "without a worker" in first
    assert "torch is there: True\nwith a worker" in second
    until(lambda: not workers(project), "end of the worker")
    assert not (project.folder / ".thaw/worker").exists()


def test_a_worker_ends_with_a_killed_dvc(new_project: Callable[[], Project]) -> None:
    project = new_project()
    write_two_stages(project, FOR_A_WORKER, 600)
    dvc = subprocess.Popen(
        ["dvc", "repro"], cwd=project.folder, env=environment(), stdout=subprocess.PIPE, text=True
    )
    while "torch is there" not in dvc.stdout.readline():
        assert dvc.poll() is None
    assert workers(project)
    assert not is_served(project.folder / DEFAULT_ADDRESS)  # for a flow, which outlives it perhaps
    dvc.kill()
    until(lambda: not (project.folder / ".thaw/worker").exists(), "end of the worker")
    for asking in psutil.process_iter(["cmdline", "cwd"]):
        if asking.info["cwd"] == str(project.folder) and "ask.py" in asking.info["cmdline"]:
            asking.kill()
    until(lambda: not workers(project), "end of what it forked")


def test_a_worker_that_is_named_is_the_only_one(new_project: Callable[[], Project]) -> None:
    project = new_project()
    write_two_stages(project, "sleep 1")
    said = project.run("dvc", "repro", THAW_WORKER="none").stdout
    assert said.count("without a worker") == 2
    assert not (project.folder / ".thaw/worker.lock").exists()


def test_there_is_no_worker_for_what_has_ended(project: Project) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    done = project.run(*WORKER, "--until", str(ended.pid), ok=False)
    assert done.returncode == 1
    assert done.stderr == f"process {ended.pid}, which the worker was for, has ended.\n"


@pytest.fixture(scope="module")
def idle(new_project: Callable[[], Project], shapes_archive: Path) -> Project:
    """A project without a worker, with all still to do."""
    project = new_project()
    project.write_recipes({"tiny": tiny_recipe(shapes_archive)})
    return project


@pytest.mark.parametrize(("worth", "told"), [(3, "0 False"), (1000, "no worker")])
def test_where_there_is_enough_to_do_a_worker_is_started_ahead(
    idle: Project, worth: int, told: str
) -> None:
    code = f"""
        from pathlib import Path
        from pipelines import changes
        from stages.warm import start
        changes.WORTH_A_WORKER = {worth}
        ahead = changes.Ahead(Path.cwd(), ["tiny"])
        with ahead.worker() as address:
            if address:
                with start(address, "stages.command", ["check"]) as remote:
                    code = remote.wait()
        print(f"{{code}} {{address.exists()}}" if address else "no worker")
        """
    done = idle.run("python", "-c", textwrap.dedent(code))
    assert done.stdout.splitlines()[-1] == told


def test_a_worker_that_was_started_ahead_is_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []
    monkeypatch.chdir(tmp_path)

    @contextmanager
    def another(log: Path) -> Iterator[Path]:
        started.append(log)
        yield tmp_path / "another"

    monkeypatch.setattr(changes, "attached_worker", another)
    for found, ahead in ((tmp_path / "ahead", True), (None, True), (None, False)):
        stand_in = SimpleNamespace(worker=lambda found=found: nullcontext(found))
        with changes.worker_for(tmp_path, 3, stand_in if ahead else None) as address:
            assert address == (found or tmp_path / "another")
        with changes.worker_for(tmp_path, 2, stand_in if ahead else None) as address:
            assert address == found
    assert started == [tmp_path / LOG] * 2


@pytest.mark.slow
def test_a_flow_takes_the_worker_that_was_started_by_hand(
    warm: Project, prefect: dict[str, str]
) -> None:
    noted = warm.folder / "noted"
    command = warm.folder / "stages/command.py"
    tell = f"import sys\nopen({str(noted)!r}, 'a').write(f\"{{'torch' in sys.modules}} \")\n"
    command.write_text(command.read_text().replace("import ", f"{tell}import ", 1))
    done = warm.run(*FLOW, "tiny", **prefect)
    assert int(done.stdout.split(" Ran,")[0].split()[-1]) >= changes.WORTH_A_WORKER
    assert set(noted.read_text().split()) == {"True"}
    assert not (warm.folder / LOG).exists()  # which a worker of its own would have begun
