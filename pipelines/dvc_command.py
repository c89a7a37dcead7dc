"""DVC's command line, quicker with a long dvc.lock: what a flow's stages are run by.

After each stage DVC reads all of dvc.lock with a parser that keeps comments, of which it has none,
and writes all of it anew. With a hundred stages that takes longer than most of them. Here the
text of the stages that stay as they are is kept; what is written is the same to the byte.
"""

import io
import re
import sys
from typing import Any, TextIO

from dvc.cli import main
from dvc.utils.serialize import _yaml

write_all = _yaml._dump
STAGE = re.compile(r"^  (?=\S)", re.MULTILINE)  # where a stage begins
ALIAS = re.compile(r" [&*]id\d")


class Lock(dict[str, Any]):
    """What dvc.lock says, with the text that says it.

    Attributes:
        head: the text before the first stage.
        stages: what the file said of each, to tell by identity what DVC has put in another's place.
        texts: the text of each.
        is_flat: no stage refers to a value of another.
    """

    def __init__(self, content: dict[str, Any], text: str) -> None:
        super().__init__(content)
        self.head, *blocks = STAGE.split(text)
        self.stages: dict[str, Any] = dict(content.get("stages") or {})
        self.is_flat = not ALIAS.search(text)
        self.texts = {block.partition(":\n")[0]: f"  {block}" for block in blocks}

    def is_understood(self) -> bool:
        """Say whether the text is as DVC writes it: a head, then stage after stage."""
        keys = ["schema", "stages"]
        return list(self) == keys and list(self.texts) == list(self.stages) != [] and self.is_flat


def read_lock(text: str, path: str) -> dict[str, Any]:
    """Read dvc.lock; stands in for DVC's `parse_yaml_for_update`."""
    lock = Lock(_yaml.parse_yaml(text, path), text)
    return lock if lock.is_understood() else _yaml.parse_yaml(text, path, typ="rt")


def write_lock(lock: dict[str, Any], stream: TextIO) -> None:
    """Write dvc.lock; stands in for DVC's `_dump`."""
    if not isinstance(lock, Lock):
        write_all(lock, stream)
        return
    stream.write(lock.head)
    for name, stage in lock["stages"].items():
        known = stage is lock.stages.get(name)
        stream.write(lock.texts[name] if known else stage_text(name, stage))


def stage_text(name: str, stage: Any) -> str:
    """Write one stage as DVC does."""
    stream = io.StringIO()
    write_all({"stages": {name: stage}}, stream)
    return stream.getvalue().removeprefix("stages:\n")


if __name__ == "__main__":
    _yaml.parse_yaml_for_update, _yaml._dump = read_lock, write_lock
    sys.exit(main(sys.argv[1:]))
