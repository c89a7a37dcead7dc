"""Stages in forks of a warm worker do what stages do without one."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from project import Project, environment, tiny_recipe
from servers import until
from test_dvc import output_hashes

from stages.warm import read_by_imports, start

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
    project.run("dvc", "repro", "evaluate@tiny")
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


def run_probe(project: Project, code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a module, written for it, in a fork of the project's worker, in another folder."""
    folder = project.folder / "probe"
    folder.mkdir(exist_ok=True)
    (folder / "probe.py").write_text(textwrap.dedent(code))
    run = (
        "import sys; sys.path.insert(0, '..'); from stages.warm import run_warm; sys.path.pop(0); "
        "sys.exit(run_warm('probe', ['an argument']))"
    )
    return project.run(
        "env", "--chdir=probe", sys.executable, "-c", run, ok=False, THAW_WORKER="../.thaw/worker",
        **env,
    )  # fmt: skip


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


def test_an_uncaught_error_is_shown(project: Project, worker: psutil.Process) -> None:
    done = run_probe(project, "raise ValueError('of ours')")
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: of ours\n")


def test_edited_code_is_seen_by_the_next_stage(project: Project, worker: psutil.Process) -> None:
    for text in ("one", "another"):
        assert run_probe(project, f"print('{text}')").stdout == f"{text}\n"


def test_a_worker_has_imported_all_that_stages_import(warm: Project) -> None:
    done = run_probe(
        warm,
        """
        import os, pathlib, runpy, sys
        os.chdir("..")
        sys.path[0] = os.getcwd()
        before = set(sys.modules)
        stages = ["untar", "weights", "split", "pack", "lr_frozen", "fit_frozen", "lr_unfrozen",
                  "fit_unfrozen", "threshold", "evaluate", "interpret"]
        for stage in stages:
            sys.argv = ["", stage, "tiny"]
            try:
                runpy.run_module("stages.command", run_name="__main__")
            except SystemExit as end:
                assert not end.code, stage
        for name in sorted(set(sys.modules) - before):
            if "site-packages" in (getattr(sys.modules[name], "__file__", None) or ""):
                print("NEW", name)
        """,
    )
    assert done.returncode == 0, done.stderr
    new = [line for line in done.stdout.splitlines() if line.startswith("NEW ")]
    assert new == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15), (signal.SIGKILL, -9)]
)
def test_a_signal_ends_client_and_fork(
    warm: Project, worker: psutil.Process, number: signal.Signals, code: int
) -> None:
    recipe = tiny_recipe(Path("unused"))
    recipe["fit_frozen"]["epochs"] = 20_000
    before = (warm.folder / "params.yaml").read_text()
    try:
        warm.write_recipes({"tiny": recipe})
        client = subprocess.Popen(
            [sys.executable, "-m", "stages", "fit_frozen", "tiny"],
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


def test_a_worker_that_would_do_otherwise_is_not_used(
    project: Project, worker: psutil.Process
) -> None:
    address = Path(os.path.relpath(project.folder / ".thaw/worker"))
    other = os.environ | {"OMP_NUM_THREADS": "1"}
    assert read_by_imports(other) != read_by_imports(os.environ)
    assert start(address, "this", [], environment=other) is None
    assert start(address.with_name("nobody"), "this", []) is None


def test_one_worker_is_enough(project: Project, worker: psutil.Process) -> None:
    done = project.run(*WORKER, ok=False)
    assert done.returncode == 1
    assert done.stderr == ".thaw/worker: a warm worker is at it already. One is enough.\n"


def test_a_command_has_a_worker_of_its_own(project: Project, cold: Project) -> None:
    """Not the one that was started by hand; and none is left when it has ended."""
    shown = (
        "import os, subprocess, sys; print(os.environ['THAW_WORKER']); sys.stdout.flush();"
        "subprocess.run([sys.executable, '-m', 'stages', 'check']); sys.exit(3)"
    )
    done = project.run(*WORKER, sys.executable, "-c", shown, ok=False)
    address, *lines = done.stdout.splitlines()
    assert done.returncode == 3
    assert "\n".join(lines) == cold.run("python", "-m", "stages", "check").stdout.strip()
    assert not Path(address).exists()
    assert not [p for p in psutil.Process().children(recursive=True) if "--attached" in p.cmdline()]


def test_a_command_that_does_not_exist_is_named(project: Project) -> None:
    done = project.run(*WORKER, "no-such-command", ok=False)
    assert (done.returncode, done.stderr) == (127, "no-such-command: No such file or directory\n")
