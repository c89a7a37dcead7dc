"""What the flow asks DVC for, and what it spares it."""

from pathlib import Path

import pytest

from pipelines.graph import are_files_guarded


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ("{}", False),
        ('{"write": {}, "read": {}}', False),
        ('{"write": {}, "read": {"/data/x": [{"pid": 7, "cmd": "dvc repro"}]}}', True),
        ('{"write": {"/data/x": {"pid": 7, "cmd": "dvc repro"}}}', True),
        ('{"write": {"/da', True),  # somebody was killed: DVC is to say so
        ("", True),
    ],
)
def test_files_that_another_process_works_on_are_left_alone(
    tmp_path: Path, text: str, guarded: bool
) -> None:
    noted = tmp_path / "rwlock"
    assert not are_files_guarded(noted)
    noted.write_text(text)
    assert are_files_guarded(noted) == guarded
