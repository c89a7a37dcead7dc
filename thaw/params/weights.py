"""Parameters of the `weights` stage."""

from thaw.params.base import params

# DVC wants the name of a file here, and this one is always there and never stale by itself.
NOTHING_FIRST = "stages/weights.py"


def is_recipe_model(source: str) -> bool:
    """Say whether `source` names a file that another recipe of this project makes."""
    return source.startswith("models/")


@params
class Weights:
    """Where the body's weights come from.

    Attributes:
        source: one of
            ``none`` (random, from the recipe's seed),
            ``torchvision:IMAGENET1K_V1`` (any weights name of the architecture, or ``DEFAULT``),
            a path or an http(s) address of a ``.pth`` or ``.safetensors`` file with torchvision's
            names, or ``models/<recipe>/model.safetensors`` (another recipe's model).
        after: the file that DVC must make first: the same path where `source` is another
            recipe's model, else the default.
    """

    source: str
    after: str = NOTHING_FIRST

    def __post_init__(self) -> None:
        """Refuse a source that DVC would not know to make first, and the reverse."""
        wanted = self.source if is_recipe_model(self.source) else NOTHING_FIRST
        if self.after != wanted:
            raise ValueError(
                f"source is {self.source!r}, so after must be {wanted!r}, not {self.after!r}."
            )
