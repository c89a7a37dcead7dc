"""The file contract: every path that a stage reads or writes, by recipe."""

from dataclasses import dataclass
from pathlib import Path

SCRATCH = Path(".thaw")


@dataclass(frozen=True)
class Paths:
    """Files of one recipe, relative to the project's root."""

    recipe: str

    @property
    def archive(self) -> Path:
        """Folder with the archive as it was downloaded, one file."""
        return Path("data", self.recipe, "archive")

    @property
    def raw(self) -> Path:
        """Folder with the unpacked archive."""
        return Path("data", self.recipe, "raw")

    @property
    def items(self) -> Path:
        """The items table: a row per item with path, label, target and split."""
        return Path("data", self.recipe, "items.parquet")

    @property
    def vocab(self) -> Path:
        """The vocabulary: a JSON list of class names in the order of the targets.

        Of ratings it is an object with lists of users, items and titles.
        """
        return Path("data", self.recipe, "vocab.json")

    @property
    def packed(self) -> Path:
        """Folder with the decoded images, uint8 RGB, in one file, and an index of it."""
        return Path("data", self.recipe, "packed")

    @property
    def pretrained(self) -> Path:
        """The body's weights before training."""
        return Path("models", self.recipe, "pretrained.safetensors")

    @property
    def frozen(self) -> Path:
        """The model after the frozen fit."""
        return Path("models", self.recipe, "frozen.safetensors")

    @property
    def model(self) -> Path:
        """The final model's weights."""
        return Path("models", self.recipe, "model.safetensors")

    @property
    def model_json(self) -> Path:
        """All that is needed to build and feed the final model, beside its weights."""
        return Path("models", self.recipe, "model.json")

    @property
    def threshold(self) -> Path:
        """The probability above which an answer is taken: of each class, or of any."""
        return Path("models", self.recipe, "threshold.json")

    @property
    def predictions(self) -> Path:
        """The final model's outputs on every held-out item."""
        return Path("results", self.recipe, "predictions.parquet")

    @property
    def epochs(self) -> Path:
        """Every epoch of every fit, a row each."""
        return Path("results", self.recipe, "epochs.csv")

    @property
    def report(self) -> Path:
        """The page with all of it."""
        return self.result("report", "index.html")

    @property
    def run(self) -> Path:
        """The key of the recorded run that the present results belong to."""
        return Path("models", self.recipe, "run.json")

    def result(self, stage: str, name: str) -> Path:
        """A file `name` in the results folder of `stage`."""
        return Path("results", self.recipe, stage, name)

    def resume(self, stage: str) -> Path:
        """Scratch folder for the resume checkpoints of `stage`."""
        return SCRATCH / "resume" / self.recipe / stage
