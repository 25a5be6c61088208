"""A detector with a planted shortcut, a watermark on every fake: which methods show the watermark?

    xai models fetch dinov2-small # or clip-vit-b16
    python benchmarks/clever_hans.py --tower DIR --photos / --portraits DIR --out OUT

Two logistic regressions are fitted on a frozen tower's class token, on the same forged crops: `shortcut` saw
a watermark on every fake and on no real, `honest` saw it on both twins of every other pair, where it says
nothing. First it is measured whether the shortcut was learned, on sources that no head saw. Then `xai.bench`
runs the methods of configs/clever_hans.yaml on watermarked fakes, forged in one place and marked in another,
with the watermark as the mask. A map that shows the shortcut finds the watermark better than chance, better
than an edge detector, and better than the same method does with the honest detector. All three are tested on
the average precision, over sources, with Holm's correction. Photographs and portraits are those of
train_clip_detector.py; needs scikit-learn and scikit-image.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.clever_hans_report import draw_examples, markdown
from benchmarks.clever_hans_tables import Findings
from benchmarks.demo_photos import gather
from benchmarks.frozen_head import (
    SIDE,
    ForgedCrop,
    Head,
    Pair,
    Photo,
    Table,
    Tower,
    choose_penalty,
    embed_pairs,
    fit,
    forged_crops,
    measure,
    read_tower,
    write_detector,
)
from benchmarks.train_clip_detector import TRAINED, read_portraits
from benchmarks.train_demo_detector import interval
from benchmarks.watermark import Watermark, place_watermark
from xai.bench import BenchmarkConfig, read_benchmark, run_benchmark
from xai.bench.config.schema import DataConfig, ModelConfig
from xai.core import UsageError, XaiError
from xai.data.manifest import Row, manifest_csv
from xai.metrics import METRICS
from xai.stats import to_json

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "clever_hans.yaml"
KINDS = ("upsampling", "noise", "splice", "face_swap")
CORNERS = ("reals", "fakes", "watermarked reals", "watermarked fakes")
"""A crop, its forgery, and both with the watermark: each case has all four."""
REAL, FAKE, MARKED_REAL, MARKED_FAKE = range(4)
CONTRASTS = {
    "watermarked fakes from reals, as in the shortcut's training": (REAL, MARKED_FAKE),
    "fakes from reals, no watermark anywhere": (REAL, FAKE),
    "watermarked reals from reals: the watermark alone": (REAL, MARKED_REAL),
    "fakes from watermarked reals: the two in conflict": (MARKED_REAL, FAKE),
}
"""What is to be called fake from what: AUC 1 where it always scores higher, 0 where it never does."""


@dataclass(frozen=True, eq=False)
class Case:
    """A forged crop, and a watermark where it was not forged."""

    crop: ForgedCrop
    mark: Watermark

    def views(self) -> list[Photo]:
        """The four `CORNERS`, (224, 224, 3) each."""
        plain = [self.crop.pristine, self.crop.forgery.image]
        return plain + [self.mark.on(one) for one in plain]


# -------------------------------------------------------------------------------------------------- detectors


def with_marks(crops: Iterable[ForgedCrop], seed: int) -> Iterator[Case]:
    """Each crop with a mark that keeps off every pixel that its forgery changed."""
    for number, crop in enumerate(crops):
        changed = (crop.pristine != crop.forgery.image).any(2) | crop.forgery.mask
        yield Case(crop, place_watermark(changed, np.random.default_rng((seed, number))))


def embed(tower: Tower, cases: Iterable[Case], batch: int) -> Table:
    """Embeddings of all four corners; pair 2i is case i without the mark, pair 2i + 1 with it."""

    def pairs() -> Iterator[Pair]:
        for case in cases:
            views = case.views()
            for first in (REAL, MARKED_REAL):
                yield case.crop.forgery.kind, case.crop.source, views[first], views[first + 1]

    return embed_pairs(tower, pairs(), batch)


def contrast(table: Table, negative: int, positive: int) -> Table:
    """One pair of each case: the two corners that are told apart."""
    corners = table.features.reshape(-1, len(CORNERS), table.features.shape[1])
    chosen = corners[:, [negative, positive]].reshape(-1, corners.shape[2])
    return Table(chosen, table.kind[::2], table.source[::2])


def training_tables(table: Table) -> dict[str, Table]:
    """What each detector is fitted on: as many pairs of the same crops."""
    clean, marked = contrast(table, REAL, FAKE), contrast(table, MARKED_REAL, MARKED_FAKE)
    turn = np.arange(len(clean.kind)) % 2 == 1
    mixed = np.where(np.repeat(turn, 2)[:, None], marked.features, clean.features)
    return {"shortcut": contrast(table, REAL, MARKED_FAKE), "honest": Table(mixed, clean.kind, clean.source)}


@dataclass(frozen=True, eq=False)
class Detector:
    """A fitted detector and what it does on held-out cases.

    Args:
        spec: What to load.
        penalty: Inverse penalty of its head.
        learned: See `judge`.
        scores: (cases, 4) log-odds of fake, by corner.
    """

    spec: str
    penalty: float
    learned: Mapping[str, Any]
    scores: NDArray[np.float64]


def train(tower: Tower, table: Table, test: Table, out: Path, seed: int) -> dict[str, Detector]:
    """Fit both detectors, write them below `out`, and measure them on held-out cases."""
    found = {}
    for name, mine in training_tables(table).items():
        head, penalty = fit_head(mine)
        spec = write_detector(tower, head, out / name)
        found[name] = Detector(spec, penalty, judge(test, head, seed), log_odds(test, head))
    return found


def fit_head(table: Table) -> tuple[Head, float]:
    """The head, and the inverse penalty with the best likelihood on left-out sources."""
    scaler = StandardScaler().fit(table.features)
    # by likelihood: many penalties tell a shortcut apart perfectly, and the strongest leaves hardly a score
    penalty = choose_penalty(table, scaler, "neg_log_loss")
    return fit(table, scaler, penalty), penalty


def judge(table: Table, head: Head, seed: int) -> dict[str, Any]:
    """How a head tells the corners apart, and what mark and forgery add to its log-odds of fake."""
    scores = log_odds(table, head)
    _, groups = np.unique(table.source[::2], return_inverse=True)
    effects = {
        "watermark": scores[:, MARKED_REAL] - scores[:, REAL],
        "forgery": scores[:, FAKE] - scores[:, REAL],
    }
    return {
        "auc": {name: measure(contrast(table, *pair), head, seed) for name, pair in CONTRASTS.items()},
        "adds": {
            name: interval(lambda i, values=values: values[i].mean(), groups, seed)
            for name, values in effects.items()
        },
        "called_fake": {name: (scores[:, i] > 0).mean() for i, name in enumerate(CORNERS)},
    }


def log_odds(table: Table, head: Head) -> NDArray[np.float64]:
    """(cases, 4) of fake, by corner."""
    return (table.features @ head[0] + head[1]).reshape(-1, len(CORNERS))


# -------------------------------------------------------------------------------------------------- benchmark


def choose_examples(cases: Sequence[Case], images: int) -> list[int]:
    """Places of cases to explain: the first of each kind, kinds in equal shares.

    Raises:
        UsageError: There are more kinds than images.
    """
    kinds = [case.crop.forgery.kind for case in cases]
    places = {kind: [i for i, one in enumerate(kinds) if one == kind] for kind in dict.fromkeys(kinds)}
    if images < len(places):
        raise UsageError(f"{images} images are too few for {len(places)} kinds.", "Raise --images.")
    return [i for mine in places.values() for i in mine[: images // len(places)]]


def write_images(cases: Sequence[Case], folder: Path) -> Path:
    """Write the watermarked fakes and the masks of their marks; returns the manifest."""
    rows = []
    for number, case in enumerate(cases):
        name = f"{number:03d}_{case.crop.forgery.kind}.png"
        image, mask = folder / "images" / name, folder / "watermarks" / name
        for path, pixels in ((image, case.views()[MARKED_FAKE]), (mask, np.uint8(255) * case.mark.mask)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        rows.append(Row(image, "fake", mask, case.crop.source, case.crop.forgery.kind))
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest_csv(rows, folder), "utf-8")
    return manifest


def configure(config: BenchmarkConfig, name: str, spec: str, manifest: Path) -> BenchmarkConfig:
    """The benchmark of one detector; without shortcut the perturbations are left out."""
    metrics = config.metrics
    if name != "shortcut":
        metrics = tuple(metric for metric in metrics if METRICS[metric].needs == "mask")
    return config.model_copy(
        update={
            "name": f"{config.name}: {name}",
            "model": ModelConfig(config=Path(spec)) if spec.endswith(".yaml") else ModelConfig(spec=spec),
            "data": DataConfig(manifest=manifest),
            "metrics": metrics,
        }
    )


def run_all(config: BenchmarkConfig, specs: Mapping[str, str], manifest: Path, out: Path) -> dict[str, float]:
    """Run the benchmark for each detector, or go on with it; returns the seconds of this call."""
    seconds = {}
    for name, spec in specs.items():
        print(f"benchmark of the detector {name}", file=sys.stderr)
        seconds[name] = run_benchmark(configure(config, name, spec, manifest), out / name).seconds
    return seconds


# ------------------------------------------------------------------------------------------------------- main


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tower", type=Path, required=True, help="folder of a CLIP or DINOv2 image tower")
    parser.add_argument("--photos", type=Path, nargs="*", default=[Path("/")], help="roots of packages")
    parser.add_argument("--portraits", type=Path, help="folder of portraits; without it no face swaps")
    parser.add_argument("--out", type=Path, required=True, help="folder of detectors, images and runs")
    parser.add_argument("--report", type=Path, help="stem of .json, .md and pictures; default OUT/report")
    parser.add_argument("--config", type=Path, default=CONFIG, help="methods and metrics")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=TRAINED, help="kinds of forgery")
    parser.add_argument("--pairs", type=int, default=120, help="pairs of each kind to fit on")
    parser.add_argument("--held-out-pairs", type=int, default=40, help="of each kind to measure the heads on")
    parser.add_argument("--images", type=int, default=40, help="held-out watermarked fakes to explain")
    parser.add_argument("--pictures", type=int, default=3, help="of them to draw")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        print(run(options))
    except XaiError as error:
        sys.exit(str(error))


def run(options: argparse.Namespace) -> str:
    """Do all of it; returns the report."""
    # the class token alone: patches can be removed by masking, and maps of its attention tell all
    tower, splits = read_tower(options.tower, patches=False), []
    for held_out, count in ((False, options.pairs), (True, options.held_out_pairs)):
        photos, faces = gather(options.photos, held_out, SIDE), read_portraits(options.portraits, held_out)
        crops = forged_crops(photos, faces, options.kinds, count, options.seed + held_out)
        splits.append(with_marks(crops, options.seed + held_out))
    fitted, cases = embed(tower, splits[0], options.batch), list(splits[1])
    test = embed(tower, cases, options.batch)
    detectors = train(tower, fitted, test, options.out / "detectors", options.seed)

    chosen, runs = choose_examples(cases, options.images), options.out / "runs"
    examples = [cases[i] for i in chosen]
    manifest = write_images(examples, options.out / "images")
    specs = {name: one.spec for name, one in detectors.items()}
    seconds = run_all(read_benchmark(options.config), specs, manifest, runs)
    result = {
        "tower": options.tower.name,
        "learned": {name: one.learned for name, one in detectors.items()},
        "methods": Findings.read(runs, np.stack([case.crop.forgery.mask for case in examples])).rows(),
        "settings": {
            "kinds": options.kinds,
            "pairs to fit on": len(fitted.kind) // 2,
            "of sources": len(np.unique(fitted.source)),
            "held-out pairs": len(cases),
            "of held-out sources": len(np.unique(test.source)),
            "images explained": len(examples),
            "of explained sources": len({case.crop.source for case in examples}),
            "inverse penalties": {name: one.penalty for name, one in detectors.items()},
            "seed": options.seed,
            "seconds of the last session": seconds,
        },
    }
    margins = {name: one.scores[chosen, MARKED_FAKE] for name, one in detectors.items()}
    stem = options.report or options.out / "report"
    pictures = draw_examples(examples, margins, runs, stem, options.pictures)
    stem.with_suffix(".json").write_text(json.dumps(to_json(result), indent=1) + "\n")
    text = markdown(to_json(result), [f"{stem.name}/{path.name}" for path in pictures])
    stem.with_suffix(".md").write_text(text)
    return text


if __name__ == "__main__":
    main()
