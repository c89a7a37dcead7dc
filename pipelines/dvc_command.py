"""DVC's command line, quicker with a long dvc.lock: what a flow's stages are run by.

After each stage DVC reads all of dvc.lock with a parser that keeps comments, of which it has none,
and writes all of it anew. With a hundred stages that takes longer than most of them. Here the
text of the stages that stay as they are is kept, and only the one that ran is written, by DVC's
own means. A file that is not word for word as DVC writes it is left to DVC.
"""

import io
import re
import sys
from typing import Any, TextIO

from dvc.cli import main
from dvc.utils.serialize import _yaml

write_all = _yaml._dump
HEAD = "schema: '2.0'\nstages:\n"
STAGE = re.compile(r"^  (?=\S)", re.MULTILINE)  # where a stage begins
# Comments, values that stand for one another, a document's end: stages' texts are not all of it.
NOT_DVCS = re.compile(r"(^|\s)(#|[&*]\w)|^\.\.\.", re.MULTILINE)


class Lock(dict[str, Any]):
    """What dvc.lock says, with the text that says it.

    Attributes:
        stages: what the file said of each, to tell by identity what DVC has put in another's place.
        texts: the text of each.
    """

    def __init__(self, content: dict[str, Any], texts: dict[str, str]) -> None:
        super().__init__(content)
        self.stages: dict[str, Any] = dict(content["stages"])
        self.texts = texts


def read_lock(text: str, path: str) -> dict[str, Any]:
    """Read dvc.lock; stands in for DVC's `parse_yaml_for_update`."""
    head, *blocks = STAGE.split(text)
    if head == HEAD and blocks and text.endswith("\n") and not NOT_DVCS.search(text):
        content = _yaml.parse_yaml(text, path)
        texts = {block.partition(":\n")[0]: f"  {block}" for block in blocks}
        if list(content) == ["schema", "stages"] and list(texts) == list(content["stages"]):
            return Lock(content, texts)
    kept: dict[str, Any] = _yaml.parse_yaml(text, path, typ="rt")
    return kept


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


if __name__ == "__main__":
    _yaml.parse_yaml_for_update, _yaml._dump = read_lock, write_lock
    sys.exit(main(sys.argv[1:]))
