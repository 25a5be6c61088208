"""Fit a real/fake head for local forgeries on a vision tower: DeepfakeBench's CLIP recipe.

    xai models fetch clip-vit-b16 && xai models fetch dinov2-small
    python benchmarks/train_clip_detector.py --tower DIR --photos / --portraits DIR --out OUT

The tower stays as it is, unless `--tune-norms` moves its normalisations first; the head is a logistic
regression on its embedding, whose penalty is chosen by cross-validation over sources. A CLIP tower is saved
in DeepfakeBench's layout (`detector.yaml` and `detector.pth`), a DINOv2 tower as
`Dinov2ForImageClassification`: both load as a user's checkpoint does.
Measured on sources that the head never saw: AUC of all kinds, of each kind, of each kind when the head was
fitted without it, and of the control `seam`, whose content nobody changed. Needs scikit-learn, scikit-image
and the packages of `demo_photos.py` below the roots; what is not installed is said and left out.

Portraits: any folder of portraits that show the face in the middle. Those of the published figures are the
120 synthetic ones of github.com/faker-js/assets-person-portrait (CC0), folder of commit
63aef57b5a839aebe3ad913ec7c76469aabbb6c5.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.demo_photos import gather
from benchmarks.frozen_head import (
    SIDE,
    Photo,
    Table,
    choose_penalty,
    embed_pairs,
    fit,
    forged_crops,
    measure,
    read_tower,
    write_detector,
)
from benchmarks.tuned_norms import tune_norms
from xai.data.forgery import KINDS

TRAINED = tuple(name for name, kind in KINDS.items() if kind.label == "fake")
(CONTROL,) = KINDS.keys() - set(TRAINED)
HELD_OUT_PORTRAITS = 4  # every fourth
PORTRAITS = "portrait/"  # what their names begin with


# ---------------------------------------------------------------------------------------------------- images


def read_portraits(folder: Path | None, held_out: bool) -> dict[str, Photo]:
    """One part of the split of the portraits, by name."""
    paths = sorted(folder.glob("*.jpg")) if folder else []
    if folder and not paths:
        sys.exit(f"There is no *.jpg in {folder}.")
    chosen = [p for i, p in enumerate(paths) if (i % HELD_OUT_PORTRAITS == 0) == held_out]
    return {f"{PORTRAITS}{path.stem}": np.asarray(Image.open(path).convert("RGB")) for path in chosen}


def evaluate(train: Table, test: Table, scaler: StandardScaler, penalty: float, seed: int) -> dict:
    """Everything that is reported, on the held-out sources alone."""
    head = fit(train, scaler, penalty)
    control = test.kind == CONTROL
    result: dict = {"mixed": measure(test.only(~control), head, seed)}
    result |= {"domains": {}, "kinds": {}, "left_out": {}}
    of_portrait = np.char.startswith(test.source, PORTRAITS)
    for domain, chosen in (("portraits", of_portrait), ("photographs", ~of_portrait)):
        if (chosen & ~control).any():
            result["domains"][domain] = measure(test.only(chosen & ~control), head, seed)
    for kind in TRAINED:
        of_kind = test.only(test.kind == kind)
        if not len(of_kind.kind):
            continue
        result["kinds"][kind] = measure(of_kind, head, seed)
        others = fit(train.only(train.kind != kind), scaler, penalty)
        result["left_out"][kind] = measure(of_kind, others, seed)
    result["control"] = {CONTROL: measure(test.only(control), head, seed)}
    return result


def markdown(result: dict) -> str:
    """The figures as a page."""

    def cell(one: dict) -> str:
        return f"{one['value']:.3f} ({one['low']:.3f}–{one['high']:.3f})"

    mixed, (seam,) = result["mixed"], result["control"].values()
    lines = [
        f"# A head for local forgeries on {result['tower']}",
        "",
        "Written by `python benchmarks/train_clip_detector.py`. AUC of forged crops against their twins,",
        f"on {mixed['sources']} sources that the head never saw; 95 % bootstrap over sources in brackets.",
        "*Left out*: the head was fitted without that kind"
        + (" (but the norms were tuned with it)." if result["training"]["steps of tuned norms"] else "."),
        "",
        "| forgery | AUC | AUC, kind left out | pairs |",
        "|---|---:|---:|---:|",
        f"| all | {cell(mixed)} | | {mixed['pairs']} |",
    ]
    lines += [
        f"| all, {domain} alone | {cell(one)} | | {one['pairs']} |"
        for domain, one in result["domains"].items()
    ]
    lines += [
        f"| {kind} | {cell(one)} | {cell(result['left_out'][kind])} | {one['pairs']} |"
        for kind, one in result["kinds"].items()
    ]
    lines += [f"| control: {CONTROL} alone | {cell(seam)} | {cell(seam)} | {seam['pairs']} |"]
    trained = result["training"]
    lines += ["", ", ".join(f"{key} {value}" for key, value in trained.items()) + "."]
    return "\n".join(lines) + "\n"


def check_fit(folder: Path, wanted: dict[str, float]) -> None:
    """A detector that is there must be the one that this call would make."""
    known = json.loads((folder / "evaluation.json").read_text("utf-8"))["training"]
    other = [
        f"{key} {known.get(key)} instead of {value}"
        for key, value in wanted.items()
        if known.get(key) != value
    ]
    if other:
        sys.exit(
            f"{folder} was fitted with {', '.join(other)}: remove {folder.parent}, or give another --out."
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tower", type=Path, required=True, help="folder of a CLIP or DINOv2 image tower")
    parser.add_argument("--photos", type=Path, nargs="*", default=[Path("/")], help="roots of packages")
    parser.add_argument("--portraits", type=Path, help="folder of portraits; without it no face swaps")
    parser.add_argument("--out", type=Path, required=True, help="folder of the detector")
    parser.add_argument("--report", type=Path, help="stem of the .json and .md; default OUT/evaluation")
    parser.add_argument("--pairs", type=int, default=250, help="pairs of each kind to fit on")
    parser.add_argument("--held-out-pairs", type=int, default=80, help="pairs of each kind to measure on")
    parser.add_argument(
        "--class-token",
        action="store_true",
        help="of DINOv2 read the class token alone, not the patches' mean",
    )
    parser.add_argument(
        "--tune-norms",
        type=int,
        default=0,
        metavar="STEPS",
        help="first tune the tower's normalisations and biases, one pair of each kind a step",
    )
    parser.add_argument("--strength", type=float, default=1.0, help="of the forgeries' traces")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument(
        "--fit-dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the embeddings that the head is fitted on; those it is measured on are always float32",
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tower = read_tower(options.tower, not options.class_token)
    if options.tune_norms:
        photos, faces = gather(options.photos, False, SIDE), read_portraits(options.portraits, False)
        # other crops than the head is fitted on
        seed = options.seed + 2
        tune_norms(tower, photos, faces, TRAINED, options.tune_norms, seed, options.strength)
    tables = []
    for held_out, kinds, count in (
        (False, TRAINED, options.pairs),
        (True, tuple(KINDS), options.held_out_pairs),
    ):
        photos, faces = gather(options.photos, held_out, SIDE), read_portraits(options.portraits, held_out)
        crops = forged_crops(photos, faces, kinds, count, options.seed + held_out, options.strength)
        pairs = ((one.forgery.kind, one.source, one.pristine, one.forgery.image) for one in crops)
        fast = options.fit_dtype == "bfloat16" and not held_out
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            tables.append(embed_pairs(tower, pairs, options.batch))
    train, test = tables
    scaler = StandardScaler().fit(train.features)
    penalty = choose_penalty(train, scaler)
    spec = write_detector(tower, fit(train, scaler, penalty), options.out)
    result = {"tower": options.tower.name, **evaluate(train, test, scaler, penalty, options.seed)}
    result["training"] = {
        "pairs": len(train.kind),
        "sources": len(np.unique(train.source)),
        "inverse penalty": penalty,
        "steps of tuned norms": options.tune_norms,
        "strength": options.strength,
        "seed": options.seed,
        "embeddings": options.fit_dtype,
    }
    stem = options.report or options.out / "evaluation"
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(result))
    print(f"{markdown(result)}\nxai explain IMAGE --model {spec}")


if __name__ == "__main__":
    main()
