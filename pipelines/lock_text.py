"""dvc.lock as a text: what it says of each stage, without parsing it."""

import re
from collections.abc import Iterable, Mapping

HEAD = "schema: '2.0'\nstages:\n"
STAGE = re.compile(r"^  (?=\S)", re.MULTILINE)  # where a stage begins
NAME = re.compile(r"(\w[^\s'\"]*):\n")
# Comments, values that stand for one another, whatever is not indented: no part of a stage's text.
NOT_DVCS = re.compile(r"(^|\s)(#|[&*]\w)|^ ?\S", re.MULTILINE)


def stage_texts(text: str) -> dict[str, str] | None:
    """Split dvc.lock into the text of each stage; None if it is not as DVC writes it."""
    head, *blocks = STAGE.split(text)
    names = [found[1] for found in map(NAME.match, blocks) if found]
    foreign = NOT_DVCS.search(text, len(HEAD)) or not text.endswith("\n")
    if head != HEAD or foreign or not blocks or len(set(names)) < len(blocks):
        return None
    return {name: f"  {block}" for name, block in zip(names, blocks, strict=True)}


def lock_of(texts: Mapping[str, str], addresses: Iterable[str]) -> str:
    """Return a dvc.lock of some of the stages that `stage_texts` found, in this order."""
    return HEAD + "".join(texts[address] for address in addresses)
