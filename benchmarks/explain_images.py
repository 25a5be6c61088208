"""`xai explain` of many images, whole commands of the earlier build and of this one by turns; its memory.

python benchmarks/explain_images.py                   # about 15 min on two quiet cores
python benchmarks/explain_images.py --rounds 1 --images 16 --most 64
"""

import os
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import turns
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from xai.data import shipped_samples

SIDE = 512  # pixels of an image
FEW = 4  # images for the large model
TARGETS = {"demo": 3.0, "ViT-B/16": 1.3}
GROWTH = 1.1  # of the peak from 64 images to the most


class Detector(nn.Module):
    """CLIP ViT-B/16 shapes with a linear head, in the layout of a published detector; random weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = CLIPVisionModel(CLIPVisionConfig(patch_size=16))
        self.head = nn.Linear(768, 2)


def write_detector(folder: Path) -> Path:
    """Its YAML file."""
    torch.save(Detector().state_dict(), folder / "large.pth")
    path = folder / "large.yaml"
    path.write_text("model_name: clip\nweights: large.pth\nresolution: 224\n")
    return path


def write_images(folder: Path, count: int, distinct: int = 64) -> Path:
    """The shipped images at 512 × 512, turned; from `distinct` on the same again under other names."""
    samples = [sample.image.resize((SIDE, SIDE)) for sample in shipped_samples()]
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:04d}.png"
        if number < distinct:
            image = samples[number % len(samples)]
            image.rotate(7 * (number // len(samples))).save(path, compress_level=1)
        else:
            path.write_bytes((folder / f"{number % distinct:04d}.png").read_bytes())
    return folder


def command(images: Path, out: Path, *options: str) -> Sequence[str]:
    return ("-m", "xai", "explain", str(images), "--out", str(out), *options)


def compared(name: str, images: Path, out: Path, rounds: int, options: Sequence[str] = ()) -> list[list[str]]:
    """Rows of CPU and clock of both builds, and of their peaks."""
    commands = {build: command(images, out / f"{build}-{images.name}", *options) for build in ("base", "now")}
    pairs = turns.command_turns(commands, rounds, warm_up=0)
    target, count = TARGETS[name], len(list(images.iterdir()))
    rows = []
    for key, words in (("cpu", "CPU"), ("wall", "clock")):
        first, second = turns.medians(pairs, key)
        ratio = turns.ratios(pairs, key)
        met = "met" if ratio["median"] >= target else "missed"
        rows.append([
            f"{name}, {count} images, {words}", f"{first:.1f} s", f"{second:.1f} s", turns.percentiles(ratio),
            f"≥ {target}: {met}",
        ])  # fmt: skip
    first, second = turns.medians(pairs, "peak_mb")
    ratio = turns.percentiles(turns.ratios(pairs, "peak_mb"))
    return [*rows, [f"{name}, {count} images, peak", f"{first:.0f} MB", f"{second:.0f} MB", ratio, ""]]


def peaks(counts: Sequence[int], folder: Path, options: Sequence[str]) -> dict[int, float]:
    """Peak megabytes of this build by the number of images."""
    _, now = turns.builds()
    found = {}
    for count in counts:
        images = write_images(folder / f"{count}-{options[-1]}", count)
        run = turns.run_command(now, command(images, folder / f"out-{images.name}", *options))
        found[count] = turns.value(run, "peak_mb")
    return found


def main() -> None:
    options = turns.parser(__doc__ or "", rounds=3)
    options.add_argument("--images", type=int, default=64)
    options.add_argument("--most", type=int, default=1000, help="images of the longest run of this build")
    options.add_argument("--most-drawn", type=int, default=256, help="of the longest that draws all pictures")
    asked = options.parse_args()
    with TemporaryDirectory() as place:
        for rows in measured(asked, Path(place)):
            published(rows, asked.rounds)  # each time again: a long run that is stopped leaves what it has


def measured(asked: Namespace, folder: Path) -> Iterator[list[list[str]]]:
    """All rows so far, after every comparison and every series of peaks."""
    rows = compared("demo", write_images(folder / "images", asked.images), folder, asked.rounds)
    yield rows
    for pictures, most in (("none", asked.most), ("all", asked.most_drawn)):
        counts = sorted({1, 16, asked.images, most})
        found = peaks(counts, folder, ("--pictures", pictures))
        growth = found[most] / found[asked.images]
        listed = ", ".join(f"{count}: {peak:.0f} MB" for count, peak in found.items())
        met = "met" if growth <= GROWTH else "missed"
        rows.append([
            f"peak by images, --pictures {pictures}", "", listed,
            f"{growth:.2f} from {asked.images} to {most}", f"≤ {GROWTH}: {met}",
        ])  # fmt: skip
        yield rows
    large = ("--config", str(write_detector(folder)))
    yield rows + compared("ViT-B/16", write_images(folder / "few", FEW), folder, asked.rounds, large)


def published(rows: list[list[str]], rounds: int) -> None:
    path = turns.publish(
        "explain",
        "Explaining many images",
        [
            f"`xai explain` of images of {SIDE} × {SIDE} pixels, whole commands with their start-up, the "
            f"earlier build (commit {turns.BASE}) and this one by turns, rounds: {rounds}; default "
            "method and threads. Median (5th–95th percentile) of the ratios of the rounds. The shipped "
            "detector, and CLIP ViT-B/16 shapes with random weights.",
            f"Load of the machine at the end: {os.getloadavg()[2]:.1f} over 15 minutes. Peaks by images are "
            "of this build; with `--report` the page holds every image's maps, and memory grows with them.",
        ],
        ["what", "earlier build", "this build", "ratio", "target"],
        rows,
    )
    print(path.read_text("utf-8"), flush=True)


if __name__ == "__main__":
    main()
