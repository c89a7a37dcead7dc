"""Train on given images with fastai, for side-by-side measurements.

Runs in an environment of its own, because fastai is no dependency of this project:

    uv venv fastai-env
    uv pip install -p fastai-env fastai==2.8.12 torch==2.15.0 torchvision==0.29.2 pyarrow
    fastai-env/bin/python benchmarks/fastai_images.py --items data/pets/items.parquet \
        --images data/pets/raw/oxford-iiit-pet/images --weights mobilenet_v2-1efb22c2.pth

The recipe is the lesson's: `Resize` to `--presize`, `aug_transforms` with a random crop to
`--side`, `fine_tune`. The body is one of torchvision's with the weights of a file, so no network is
needed. Prints one JSON object; the epochs go to stderr as they end.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import fastai
import pandas as pd
import torch
import torchvision
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback
from fastai.callback.schedule import Learner  # the import adds fine_tune to it
from fastai.callback.training import BnFreeze
from fastai.data.core import DataLoaders
from fastai.metrics import error_rate
from fastai.torch_core import set_seed
from fastai.vision.augment import Resize, aug_transforms
from fastai.vision.core import imagenet_stats
from fastai.vision.data import ImageDataLoaders
from fastai.vision.learner import default_split, model_meta, vision_learner


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--items",
        type=Path,
        required=True,
        help="CSV or Parquet with the columns path, label and split ('train' or 'valid')",
    )
    parser.add_argument("--images", type=Path, required=True, help="folder the paths start from")
    parser.add_argument("--arch", choices=["mobilenet_v2", "resnet34"], default="mobilenet_v2")
    parser.add_argument("--weights", type=Path, required=True, help="its state dict")
    parser.add_argument("--side", type=int, default=160, help="training side in pixels")
    parser.add_argument("--presize", type=int, default=256, help="side of the decoded square")
    parser.add_argument("--frozen", type=int, default=3, help="epochs with a frozen body")
    parser.add_argument("--unfrozen", type=int, default=3, help="epochs after that")
    parser.add_argument("--lr", type=float, default=2e-3, help="fine_tune's base rate")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own)")
    parser.add_argument("--workers", type=int, help="loader processes (default: fastai's own)")
    parser.add_argument(
        "--channels-last",
        action="store_true",
        help="fastai's ChannelsLast callback, which is not its default",
    )
    parser.add_argument(
        "--freeze-bn",
        action="store_true",
        help="keep the batch norms of frozen groups in eval mode, which is not fastai's default",
    )
    parser.add_argument(
        "--bf16", action="store_true", help="bf16 on a CPU, where fastai's own callback has none"
    )
    return parser.parse_args()


class CpuBf16(Callback):
    """What fastai's MixedPrecision does on a GPU, on a CPU."""

    order = 10

    def before_batch(self) -> None:
        """Begin to compute in bf16."""
        self.autocast = torch.autocast("cpu", torch.bfloat16)
        self.autocast.__enter__()

    def after_pred(self) -> None:
        """Compute the loss in fp32."""
        self.learn.pred = self.pred.float()

    def after_loss(self) -> None:
        """End it: what goes back has the precision of what came."""
        self.autocast.__exit__(None, None, None)


def read_items(file: Path) -> pd.DataFrame:
    """Read path, label and split, and add the column that fastai's splitter wants."""
    table = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    unknown = set(table["split"]) - {"train", "valid"}
    if unknown:
        raise SystemExit(f"{file}: split must be 'train' or 'valid', found {sorted(unknown)}.")
    return table.assign(is_valid=table["split"] == "valid")[["path", "label", "is_valid"]]


def make_learner(args: argparse.Namespace, items: pd.DataFrame) -> Learner:
    """Build fastai's data loaders and its learner on a frozen body."""
    loaders = ImageDataLoaders.from_df(
        items,
        path=args.images,
        fn_col="path",
        label_col="label",
        valid_col="is_valid",
        item_tfms=Resize(args.presize),
        batch_tfms=aug_transforms(size=args.side, min_scale=0.75),
        bs=args.batch,
        **({} if args.workers is None else {"num_workers": args.workers}),
    )

    callbacks = [ChannelsLast()] if args.channels_last else []
    callbacks += [BnFreeze()] if args.freeze_bn else []
    callbacks += [CpuBf16()] if args.bf16 else []
    return learner(
        loaders,
        args.weights,
        args.arch,
        metrics=error_rate,
        train_bn=not args.freeze_bn,
        cbs=callbacks,
    )


def learner(
    loaders: DataLoaders, weights: Path, arch: str = "mobilenet_v2", **options: Any
) -> Learner:
    """Build fastai's learner on an architecture of torchvision with the weights of a file."""

    def build(pretrained: bool) -> torch.nn.Module:
        model = torchvision.models.get_model(arch, weights=None)
        model.load_state_dict(torch.load(weights, weights_only=True))
        return model

    # Without an entry fastai would look in vain for a pooling layer to cut mobilenet_v2 at (it
    # drops the `cut` given to vision_learner) and would leave the normalisation out.
    there = getattr(torchvision.models, arch)
    mobilenet = {"cut": -1, "split": default_split, "stats": imagenet_stats}
    known = model_meta.get(there, mobilenet)
    # With "weights" in its entry fastai would hand `build` published ones to download.
    model_meta[build] = {name: value for name, value in known.items() if name != "weights"}
    return vision_learner(loaders, build, **options)


def main() -> None:
    """Train once and print what came out."""
    args = arguments()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    items = read_items(args.items)
    set_seed(args.seed)
    begin = time.perf_counter()
    learn = make_learner(args, items)
    ready = time.perf_counter()

    history: list[dict[str, Any]] = []

    def note(row: Any) -> None:
        names = ("train_loss", "valid_loss", "error_rate", "time")
        history.append({"epoch": len(history), **dict(zip(names, list(row)[1:], strict=True))})
        history[-1]["seconds"] = round(time.perf_counter() - ready, 2)  # since the first began
        print(json.dumps(history[-1]), file=sys.stderr)

    learn.logger = note
    with learn.no_bar():
        learn.fine_tune(args.unfrozen, base_lr=args.lr, freeze_epochs=args.frozen)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - ready

    epochs = args.frozen + args.unfrozen
    trained = len(learn.dls.train) * args.batch * epochs  # fastai drops the last, short batch
    print(
        json.dumps(
            {
                "error_rate": history[-1]["error_rate"],
                "valid_loss": history[-1]["valid_loss"],
                "seconds": round(seconds, 2),
                "seconds_setup": round(ready - begin, 2),
                "train_images_per_second": round(trained / seconds, 1),
                "train_items": len(learn.dls.train_ds),
                "valid_items": len(learn.dls.valid_ds),
                "device": str(learn.dls.device),
                "threads": torch.get_num_threads(),
                "workers": learn.dls.train.fake_l.num_workers,
                "cores": os.cpu_count(),
                "fastai": fastai.__version__,
                "torch": torch.__version__,
                "settings": {
                    k: v.name if isinstance(v, Path) else v for k, v in vars(args).items()
                },
                "history": history,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
