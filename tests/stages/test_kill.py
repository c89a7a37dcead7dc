"""Killed stages go on where they were, and end with the same bytes as stages never killed."""

import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Project, tiny_recipe
from test_dvc import output_hashes

pytestmark = pytest.mark.slow

KILL_AT = Path(__file__).with_name("kill_at.py")
RANDOM = random.Random(20)

# Epochs have 5 steps, fits 3 epochs. Each fit renames, in this order and per epoch: checkpoint,
# history, batches; then history, batches, metrics; the frozen fit its model, the unfrozen one all
# epochs, predictions, model.json and the model. Named last: what is whole but not yet renamed.
MOMENTS = [
    ("pack", "thaw.images.read_image", RANDOM.randint(2, 40), ""),
    ("pack", "pathlib.Path.replace", 1, ""),
    ("lr_frozen", "thaw.vision.features.compute_features", 2, ""),
    ("lr_frozen", "torch.optim.AdamW.step", RANDOM.randint(2, 29), ""),
    ("fit_frozen", "torch.optim.AdamW.step", RANDOM.randint(1, 5), ""),
    ("fit_frozen", "pathlib.Path.replace", 1, ""),  # first checkpoint
    ("fit_frozen", "torch.optim.AdamW.step", RANDOM.randint(6, 10), ""),
    ("fit_frozen", "safetensors.torch.save_file", 2, ""),
    ("fit_frozen", "thaw.training.model.save_weights", 1, ""),
    ("fit_frozen", "pathlib.Path.replace", 4, "models/tiny/.frozen.safetensors.part"),
    ("lr_unfrozen", "torch.optim.AdamW.step", RANDOM.randint(2, 19), ""),
    ("fit_unfrozen", "torch.optim.AdamW.step", RANDOM.randint(6, 10), ""),
    ("fit_unfrozen", "pathlib.Path.replace", 2, ""),  # a history, after its checkpoint
    ("fit_unfrozen", "pathlib.Path.replace", 9, "models/tiny/.model.json.part"),
    ("fit_unfrozen", "pathlib.Path.replace", 7, "models/tiny/.model.safetensors.part"),
]
ORDER = [
    "download", "untar", "weights", "split", "pack",
    "lr_frozen", "fit_frozen", "lr_unfrozen", "fit_unfrozen", "evaluate",
]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(new_project: Callable[[], Project], shapes_archive: Path) -> dict[str, str]:
    """The hashes of all outputs of a run that nobody killed."""
    project = new_project()
    project.write_recipes({"tiny": tiny_recipe(shapes_archive)})
    for stage in ORDER:
        project.stage(stage, "tiny")
    return output_hashes(project)


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(
    new_project: Callable[[], Project], shapes_archive: Path, undisturbed: dict[str, str]
) -> None:
    project = new_project()
    project.write_recipes({"tiny": tiny_recipe(shapes_archive)})
    resumed = 0
    for stage in ORDER:
        for _, function, call, part in (moment for moment in MOMENTS if moment[0] == stage):
            done = project.run(
                sys.executable, str(KILL_AT), function, str(call), stage, "tiny", ok=False
            )
            assert done.returncode == -signal.SIGKILL, (stage, function, call, done.stderr)
            assert not part or (project.folder / part).exists()
        resumed += "resuming at epoch" in project.stage(stage, "tiny").stdout
    assert resumed == 2  # both fits
    assert output_hashes(project) == undisturbed
    assert not list(project.folder.rglob("*.part")), "half-written files were left"
