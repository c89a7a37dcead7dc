"""The code noted for a stage: what it imports, by whatever way, and nothing else."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from stages import code
from thaw.core.errors import UserError

ROOT = Path(__file__).parents[2]
FILES = {
    "stages/fit.py": "from thaw.loop import run\n",
    "stages/split.py": "import thaw.table as table, json\n",
    "stages/__init__.py": '"""Stages."""\n',
    "thaw/__init__.py": '"""Library."""\n',
    "thaw/loop.py": """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from thaw import only_typed
else:
    from thaw import not_typed
def run(x):
    try:
        match x:
            case 1:
                from thaw import table
    except ValueError:
        import thaw.late
    from thaw.samples import drawing
""",
    "thaw/table.py": "import thaw.loop\n",  # a circle
    "thaw/late.py": "",
    "thaw/not_typed.py": "",
    "thaw/only_typed.py": "",
    "thaw/unused.py": "",
    "thaw/samples/drawing.py": "",
    "thaw/page.html": "<p>",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two stages, of which the code was noted."""
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(code, "STAGES", ("fit", "split"))
    code.main()
    return tmp_path


def noted(stage: str) -> dict[str, str]:
    """What is noted of a stage: hashes by path."""
    lines = code.noted(stage).read_text().splitlines()
    return {path: told for told, path in (line.split("  ") for line in lines)}


def test_all_that_a_stage_imports_is_noted_and_nothing_else(project: Path) -> None:
    found = noted("fit")
    names = ["stages/fit.py", "thaw/late.py", "thaw/loop.py", "thaw/not_typed.py", "thaw/table.py"]
    assert list(found) == names
    assert found["thaw/late.py"] == sha256(b"").hexdigest()
    assert set(noted("split")) == {*names, "stages/split.py"} - {"stages/fit.py"}
    drawn = {"thaw/samples/drawing.py"}  # params.yaml pins what it draws
    assert set(noted("record")) == set(FILES) - drawn


def test_what_is_noted_follows_edits_of_what_is_imported_alone(project: Path) -> None:
    before = {stage: noted(stage) for stage in ("fit", "split", "record")}
    (project / "thaw/unused.py").write_text("more = 1\n")
    code.main()
    assert [stage for stage in before if noted(stage) != before[stage]] == ["record"]
    (project / "stages/fit.py").write_text("from thaw.unused import more\n")
    code.main()
    assert list(noted("fit")) == ["stages/fit.py", "thaw/unused.py"]
    assert noted("split") == before["split"]


def test_code_that_was_edited_since_does_not_run(project: Path) -> None:
    code.refuse_edited("fit")
    (project / "thaw/page.html").write_text("<b>")
    code.refuse_edited("fit")
    (project / "thaw/late.py").unlink()
    (project / "thaw/table.py").write_text("import json\n")
    with pytest.raises(UserError, match=r"^thaw/late.py, thaw/table.py changed since"):
        code.refuse_edited("fit")


def test_training_imports_the_loop_and_packing_does_not() -> None:
    loop = "thaw/training/fit.py"
    assert loop in code.code_text(ROOT, "fit_frozen")
    assert loop not in code.code_text(ROOT, "pack")
    assert "thaw/samples" not in code.code_text(ROOT, "download")


def test_threads_may_read_at_once() -> None:
    files = sorted(ROOT.glob("thaw/**/*.py"))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(code.direct_imports, files * 4))
    assert found[: len(files)] == [code.direct_imports(file) for file in files]
