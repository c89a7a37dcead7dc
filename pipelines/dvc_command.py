"""DVC's command line, quicker with a long dvc.lock: what a flow's stages are run by.

To reproduce a single stage DVC parses all of dvc.lock twice, once with a parser that keeps
comments, of which it has none, and writes all of it anew. With a hundred stages that takes longer
than most of them. Here only the entry of that stage is parsed and written, by DVC's own means; of
the others the text is kept. A file that is not word for word as DVC writes it is left to DVC.

It parses params.yaml four times for a stage that runs; here once.

The stage's own command, `python -m stages …`, would start a shell and an interpreter only to ask
the warm worker. DVC asks it itself. And of all its commands' options, which take time to make, it
has those of `repro` alone.
"""

import importlib
import io
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

from dvc.cli import main, parser
from dvc.commands import repro
from dvc.utils import strictyaml
from dvc.utils.serialize import _yaml

from pipelines.dvc_params import params_read_once
from pipelines.lock_text import HEAD, stage_texts
from stages.warm import ADDRESS, Remote, start

parse_all, write_all = _yaml.parse_yaml, _yaml._dump
# A command in which a shell would change nothing.
MODULE = re.compile(r"python -m ([\w.]+)((?: [\w./@-]+)*)", re.ASCII)
# What asks the worker itself when it is run, and what it asks for.
ASKING = {"stages": "stages.command"}


class Lock(dict[str, Any]):
    """What dvc.lock says of one stage, with the text of them all.

    Args:
        texts: of each stage.
        parsed: of the one, if it is there.

    Attributes:
        stages: the same as under ``stages``, where DVC puts others: to tell by identity which.
    """

    def __init__(self, texts: dict[str, str], parsed: dict[str, Any]) -> None:
        self.texts = texts
        self.stages: dict[str, Any] = texts | parsed
        super().__init__(schema="2.0", stages=dict(self.stages))


def read_stage(texts: dict[str, str], address: str, path: str) -> dict[str, Any]:
    """Parse one stage: its entry by its address, or nothing."""
    if address not in texts:
        return {}
    stages: dict[str, Any] = parse_all(HEAD + texts[address], path)["stages"]
    return stages


def quicken(address: str) -> None:
    """Let DVC read and write, of dvc.lock, what one stage needs."""

    def read(text: str, path: str, typ: str = "safe") -> Any:
        texts = stage_texts(text) if Path(path).name == "dvc.lock" and typ == "safe" else None
        if texts is None:
            return parse_all(text, path, typ=typ)
        return {"schema": "2.0", "stages": read_stage(texts, address, path)}

    def read_for_update(text: str, path: str) -> Any:
        texts = stage_texts(text)
        if texts is None:
            return parse_all(text, path, typ="rt")
        return Lock(texts, read_stage(texts, address, path))

    strictyaml.parse_yaml = read
    _yaml.parse_yaml_for_update, _yaml._dump = read_for_update, write_lock


def write_lock(lock: dict[str, Any], stream: TextIO) -> None:
    """Write dvc.lock; stands in for DVC's `_dump`."""
    if not isinstance(lock, Lock):
        write_all(lock, stream)
        return
    parts = [HEAD]
    for name, stage in lock["stages"].items():
        known = stage is lock.stages.get(name)
        parts.append(lock.texts[name] if known else stage_text(name, stage))
    stream.write("".join(parts))  # at once: DVC has emptied the file, and may be killed


def stage_text(name: str, stage: Any) -> str:
    """Write one stage as DVC does."""
    stream = io.StringIO()
    write_all({"stages": {name: stage}}, stream)
    return stream.getvalue().removeprefix("stages:\n")


class Waited:
    """A module in a fork of the worker, in place of the shell that DVC waits for.

    Attributes:
        returncode: its exit code, once it has ended.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self.returncode: int | None = None

    def communicate(self) -> None:
        """Wait for its end."""
        with self._remote:
            self.returncode = self._remote.wait()


def run_command(
    command: Sequence[str], *, cwd: str, env: Mapping[str, str], **settings: Any
) -> "Waited | subprocess.Popen[bytes]":
    """Run a stage's command in a fork of the worker if it can; stands in for DVC's `Popen`.

    Args:
        command: a shell, its options, and the stage's command as the last of them.
        cwd: where it runs.
        env: its environment.
        settings: for Popen.
    """
    plain = MODULE.fullmatch(command[-1])
    if plain and ADDRESS in env:
        module = ASKING.get(plain[1], plain[1])
        asked = start(Path(env[ADDRESS]), module, plain[2].split(), cwd=Path(cwd), environment=env)
        if asked is not None:
            return Waited(asked)
    return subprocess.Popen(command, cwd=cwd, env=env, **settings)


def ask_worker() -> None:
    """Let DVC ask the worker for a stage, instead of starting what asks it."""
    running: Any = importlib.import_module("dvc.stage.run")
    running.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": run_command})


if __name__ == "__main__":
    parser.COMMANDS = [repro]
    quicken(sys.argv[-1])
    ask_worker()
    with params_read_once():
        sys.exit(main(sys.argv[1:]))
