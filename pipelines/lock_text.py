"""dvc.lock as a text: what it says of each stage, without parsing it."""

import re
from collections.abc import Sequence

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


def in_order(text: str, addresses: Sequence[str]) -> str | None:
    """Return dvc.lock with its stages in the order of `addresses`, and others after them.

    Returns:
        None if the text is not as DVC writes it.
    """
    there = stage_texts(text)
    if there is None:
        return None
    first = [address for address in addresses if address in there]
    return HEAD + "".join(there[address] for address in dict.fromkeys([*first, *there]))
