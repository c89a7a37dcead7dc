"""The recipes that the realdata tests and the benchmarks run on the real archives."""

from pathlib import Path
from typing import Any

SHA256 = {
    "oxford-iiit-pet.tgz": "501baa9cb9796d20c6be474cf80fae2dd4d438d633b997c4f5e24580df301c72",
    "dogscats.tgz": "5d0d1d77537237ddfdc111dfdba73fec4e304f3e6f361bff285f6b1f62e34462",
    "bears.tgz": "64446f8bc978631c40d3462ec522f07c745359377edebffb0c7ab83448a2b36f",
    "pascal_2007.tgz": "43c7d06c7ab44ed00455905ef783bc1c9188c082e737a07b819586b95f9b510b",
}

# Larger images than the others': the things in them are smaller. Frozen alone.
PASCAL = {
    "data": {"folder": "pascal_2007/train", "presize": 256, "max_bad": 0.0},
    "augment": {
        "image_side": 224,
        "resize": "squish",
        "min_scale": 0.5,
        "ratio": [0.75, 1.3333],
        "views": 4,
    },
    "fit_frozen": {
        "epochs": 40,
        "lr": 3e-3,
        "metrics": ["mean_average_precision", "accuracy_multi"],
    },
    "fit_unfrozen": {"epochs": 0, "lr": 1e-5},
}


def real_recipe(name: str, archives: Path, weights: Path) -> dict[str, Any]:
    """Return a recipe: mobilenet_v2's ImageNet weights, body in eval mode, 160 px or pascal's."""
    archive, folder, split = {
        "pets": (
            "oxford-iiit-pet.tgz",
            "oxford-iiit-pet/images",
            {
                "label": {"rule": "regex", "pattern": r"(.+)_\d+\.jpg$"},
                "by": {"rule": "random", "valid": 0.2},
            },
        ),
        "dogscats": (
            "dogscats.tgz",
            "dogscats",
            {"label": {"rule": "folder"}, "by": {"rule": "folder"}},
        ),
        "bears": (
            "bears.tgz",
            "bears",
            {
                "label": {"rule": "folder"},
                "by": {"rule": "random", "valid": 0.2, "stratify": True},
            },
        ),
        "pascal": (
            "pascal_2007.tgz",
            "pascal_2007/train",
            {
                "label": {
                    "rule": "csv",
                    "file": "pascal_2007/train.csv",
                    "path": "fname",
                    "column": "labels",
                    "separator": " ",
                },
                "by": {"rule": "column", "column": "is_valid"},
            },
        ),
    }[name]
    recipe = {
        "seed": 42,
        "threads": 2,
        "precision": "auto",
        "data": {"folder": folder, "presize": 182, "max_bad": 0.0},
        "model": {"arch": "mobilenet_v2", "train_bn": False},
        "augment": {"image_side": 160, "views": 8},
        "download": {"url": str(archives / archive), "sha256": SHA256[archive]},
        "untar": {},
        "weights": {"source": str(weights), "after": "stages/weights.py"},
        "split": split,
        "lr_frozen": {"steps": 100},
        "fit_frozen": {"epochs": 24, "lr": 3e-3},
        "lr_unfrozen": {"steps": 0},
        "fit_unfrozen": {"epochs": 1, "lr": [1e-5, 1e-4]},
        "threshold": {},
        "interpret": {},
    }
    return recipe | PASCAL if name == "pascal" else recipe
