"""The published benchmark on real weights: CLIP ViT-B/16 and DINOv2-S, forgeries with known masks.

    python benchmarks/clip_forgery.py --photos / --portraits DIR                # for two CPU cores: hours
    python benchmarks/clip_forgery.py --photos / --portraits DIR --size gpu --device cuda
    python benchmarks/clip_forgery.py --photos / --portraits DIR --size quick   # shows that it works

For each tower: fetch it, fit a head for local forgeries (`train_clip_detector.py`; of DINOv2-S the norms are
tuned first), then run `configs/clip_forgery/*.yaml` on forgeries of sources that the head has not seen. In
between, `xai tune` chooses the options of gradient-weighted attention on forgeries of the sources that the
head was fitted on, for the run `tuned`. Steps whose result is there are skipped, a run goes on where it was
killed: the same command again goes on. At the end `clip_findings.py` says what it shows, and what is worth
keeping is copied to --publish. Photographs and portraits: see `train_clip_detector.py`.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import rmtree

import numpy as np
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.demo_photos import gather
from benchmarks.frozen_head import SIDE
from benchmarks.pictures import to_webp
from benchmarks.train_clip_detector import check_fit, read_portraits
from xai.data.forgery import KINDS
from xai.models.fetch import cache_folder

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs" / "clip_forgery"
STRENGTH = 5.0  # of the traces: a head on a frozen tower finds fainter ones too seldom
TOWERS = ("clip-vit-b16", "dinov2-small")
TUNED_NORMS = ("dinov2-small",)
"""Towers whose normalisations are tuned first: frozen, their class token does not see the traces."""
RUNS = ("forged", "precision", "pristine", "operators", "saco", "tuned", "reference", "costly")
LOCAL = tuple(name for name, kind in KINDS.items() if kind.label == "fake" and not kind.portrait)
PORTRAIT = tuple(name for name, kind in KINDS.items() if kind.label == "fake" and kind.portrait)


@dataclass(frozen=True)
class Size:
    """How much is measured; every run takes the first images, in which the kinds take turns.

    Args:
        pairs: Forgeries of each kind that the head is fitted on.
        steps: Of tuning the normalisations of the towers that need it.
        each: Held-out forgeries of each kind.
        images: Of the runs that do not take all.
        calibration: Forgeries that the options are tuned on.
    """

    pairs: int
    steps: int
    each: int
    images: dict[str, int]
    calibration: int


SIZES = {
    "quick": Size(
        pairs=6,
        steps=3,
        each=1,
        images={"precision": 3, "pristine": 3, "operators": 3, "saco": 3, "costly": 2, "reference": 1},
        calibration=9,
    ),
    "cpu": Size(
        pairs=120,
        steps=1400,
        each=4,
        images={
            "precision": 9,
            "pristine": 9,
            "operators": 9,
            "saco": 9,
            "tuned": 18,
            "reference": 3,
            "costly": 9,
        },
        calibration=9,
    ),
    "gpu": Size(
        pairs=250,
        steps=1500,
        each=60,
        images={
            "precision": 36,
            "pristine": 180,
            "operators": 180,
            "saco": 180,
            "costly": 108,
            "reference": 36,
        },
        calibration=90,
    ),
}


def call(*words: object, save: Path | None = None) -> None:
    """Run a program of this project and keep its output; its failure ends this program too."""
    line = [sys.executable, *map(str, words)]
    print("$", *(Path(word).name for word in line[1:9]), *(["…"] if len(line) > 9 else []), flush=True)
    done = subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE if save else None)  # noqa: S603
    if done.returncode:
        sys.exit(done.returncode)
    if save:
        save.write_bytes(done.stdout)


# ---------------------------------------------------------------------------------------------------- images


def write_sources(options: argparse.Namespace, held_out: bool) -> dict[str, Path]:
    """The photographs and portraits of one part of the split as files, in an order that mixes them."""
    folder = options.out / "sources" / ("held_out" if held_out else "training")
    if not (folder / "done").is_file():
        rmtree(folder, ignore_errors=True)
        photos = gather(options.photos, held_out, SIDE)
        portraits = read_portraits(options.portraits, held_out)
        found = photos | portraits
        names = sorted(found, key=lambda name: sha256(name.encode()).digest())
        for place, name in enumerate(names):
            kind = "portraits" if name in portraits else "photos"
            path = folder / kind / f"{place:03}_{name.replace('/', '_')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(found[name]).save(path, compress_level=1)
        (folder / "done").touch()
    return {path.stem: path for path in folder.rglob("*.png")}


def write_images(options: argparse.Namespace, size: Size) -> Path:
    """Forgeries of held-out sources and of the sources that the heads are fitted on, as three manifests."""
    folder = options.out / "images"
    for held_out, part in ((True, "held_out"), (False, "calibration")):
        sources = write_sources(options, held_out)
        portraits = sorted(path for path in sources.values() if path.parent.name == "portraits")
        each = size.each if held_out else -(-size.calibration // (len(LOCAL) + len(PORTRAIT)))
        seed = options.seed + (not held_out)
        for name, paths, kinds in (
            # in the domain of deepfake detectors where there are portraits
            ("local", portraits or [sources[key] for key in sorted(sources)], LOCAL),
            ("portrait", portraits, PORTRAIT),
        ):
            out, count = folder / part / name, each * len(kinds)
            if paths and not (out / "manifest.csv").is_file():
                words = ["--out", out, "--kinds", ",".join(kinds), "--count", count, "--seed", seed]
                words += ["--strength", STRENGTH]
                call("-m", "xai", "forge", *paths, *words)
        write_manifests(folder, part, options.seed)
    return folder


def write_manifests(folder: Path, part: str, seed: int) -> None:
    """`forged.csv` and `pristine.csv`, or `calibration.csv`: kinds take turns, any start is balanced."""
    rows = []
    for manifest in sorted((folder / part).glob("*/manifest.csv")):
        with manifest.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                moved = {
                    key: str((manifest.parent / row[key]).relative_to(folder)) if row[key] else ""
                    for key in ("path", "mask")
                }
                rows.append(row | moved)
    forged = in_turns([row for row in rows if row["label"] == "fake"], seed)
    if part == "calibration":
        write_csv(folder / "calibration.csv", [row | {"group": row["kind"]} for row in forged])
        return
    write_csv(folder / "forged.csv", forged)
    twins = {stem_of(row): row for row in rows if row["label"] == "real"}
    write_csv(folder / "pristine.csv", [twins[stem_of(row)] for row in forged])


def stem_of(row: dict[str, str]) -> str:
    """What a forgery's file shares with its twin's: all but the kind."""
    return row["path"].rsplit("-", 1)[0]


def in_turns(rows: Sequence[dict[str, str]], seed: int) -> list[dict[str, str]]:
    """One of each kind, then the next of each; within a kind in a random order."""
    rng = np.random.default_rng(seed)
    turns: list[tuple[int, str, dict[str, str]]] = []
    for kind in sorted({row["kind"] for row in rows}):
        of_kind = [row for row in rows if row["kind"] == kind]
        turns += [(turn, kind, of_kind[place]) for turn, place in enumerate(rng.permutation(len(of_kind)))]
    return [row for _, _, row in sorted(turns, key=lambda one: one[:2])]


def write_csv(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """A manifest."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# ------------------------------------------------------------------------------------------------------ runs


def make_detector(tower: str, options: argparse.Namespace, size: Size) -> str:
    """Fetch a tower and fit its head, unless that is done; returns what `xai` loads."""
    folder, steps = options.out / tower / "detector", size.steps if tower in TUNED_NORMS else 0
    if (folder / "evaluation.md").is_file():
        pairs = size.pairs * len(LOCAL + PORTRAIT if options.portraits else LOCAL)
        wanted = {"pairs": pairs, "strength": STRENGTH, "seed": options.seed, "steps of tuned norms": steps}
        check_fit(folder, wanted)
    else:
        if not (source := cache_folder() / "models" / tower).is_dir():
            call("-m", "xai", "models", "fetch", tower)
        words = ["--tower", source, "--photos", *options.photos, "--out", folder, "--pairs", size.pairs]
        words += ["--held-out-pairs", max(4, size.pairs // 4)]
        words += ["--portraits", options.portraits] if options.portraits else []
        # measured in float32 all the same; fitted on bfloat16 in half of the time
        words += ["--fit-dtype", "bfloat16", "--strength", STRENGTH, "--seed", options.seed]
        words += ["--class-token"]  # so that patches can be removed by masking
        words += ["--tune-norms", steps] if steps else []
        call("benchmarks/train_clip_detector.py", *words)
    spec = folder / "detector.yaml"
    return str(spec) if spec.is_file() else f"local:{folder}"


def write_config(
    name: str,
    model: str,
    images: Path,
    out: Path,
    limit: int | None,
    device: str | None,
    rows: Sequence[dict[str, object]] = (),
) -> Path:
    """The configuration of a run for one tower, with rows of its own."""
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text("utf-8"))
    manifest = images / Path(config["data"]["manifest"]).name
    data = {"manifest": str(manifest), "limit": limit}
    config |= {"model": model, "data": data, "methods": [*config["methods"], *rows], "device": device}
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def tuned_rows(towers: Sequence[str], out: Path) -> list[dict[str, object]]:
    """What was chosen on each tower, as rows of every tower's runs."""
    rows = []
    for tower in towers:
        found = yaml.safe_load((out / tower / "tuning.yaml").read_text("utf-8"))
        rows.append({"name": f"gwa_tuned_{tower}", "method": found["method"], "options": found["options"]})
    return rows


def tune(model: str, images: Path, folder: Path, size: Size, device: str | None) -> None:
    """Choose the options on forgeries of training sources, measured on kinds that took no part."""
    if (folder / "tuning.yaml").is_file():
        return
    config = write_config("calibration", model, images, folder, size.calibration, device)
    words = ["--out", folder / "tuning.yaml", "--folds", len(LOCAL + PORTRAIT), "--json"]
    call("-m", "xai", "tune", config, *words, save=folder / "tuning.json")


# --------------------------------------------------------------------------------------------------- publish


KEPT = (
    *("detector/evaluation.md", "detector/evaluation.json"),
    *("tuning.yaml", "forged/summary.md", "forged/run.json"),
)
"""Of each tower, where it is there; what the tuning and the smaller runs say stands in the findings."""


def publish(towers: Sequence[str], out: Path, to: Path) -> None:
    """Copy what the runs found, without the paths of this machine."""
    kept = [f"{tower}/{name}" for tower in towers for name in KEPT]
    for name in ("findings.md", *kept):
        if (out / name).is_file():
            copy(out / name, to / name.replace("detector/", ""), out)
    for tower in towers:
        if (out / tower / "examples.png").is_file():
            to_webp(out / tower / "examples.png", to / tower / "examples.webp")


def copy(source: Path, to: Path, out: Path) -> None:
    """Copy a text file, which loses the folder's place on this machine; JSON its indentation."""
    to.parent.mkdir(parents=True, exist_ok=True)
    text = source.read_text("utf-8")
    if source.suffix == ".json":
        text = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")) + "\n"
    for place in (out.resolve(), out.absolute(), out):  # the longest first
        text = text.replace(f"{place}/", "")
    to.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, nargs="*", default=[Path("/")], help="roots of packages")
    parser.add_argument("--portraits", type=Path, help="folder of portraits; without it no face swaps")
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--towers", nargs="+", choices=TOWERS, default=TOWERS)
    parser.add_argument("--runs", nargs="*", choices=RUNS, default=RUNS)
    parser.add_argument("--device", help="cpu, cuda …; default that of the machine")
    parser.add_argument("--out", type=Path, default=Path("attention_results/clip-forgery"))
    parser.add_argument("--publish", type=Path, help="folder for what is worth keeping")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out = options.out.absolute()
    options.portraits = options.portraits and options.portraits.absolute()
    options.photos = [path.absolute() for path in options.photos]
    size = SIZES[options.size]
    images = write_images(options, size)
    models = {tower: make_detector(tower, options, size) for tower in options.towers}
    for run in (one for one in RUNS if one in options.runs):
        if run == "tuned":
            for tower, model in models.items():
                tune(model, images, options.out / tower, size, options.device)
        extra = tuned_rows(options.towers, options.out) if run == "tuned" else []
        for tower, model in models.items():
            folder = options.out / tower
            limit = size.images.get(run)
            config = write_config(run, model, images, folder, limit, options.device, extra)
            call("-m", "xai", "benchmark", "run", config, "--out", folder / run)
            call("-m", "xai", "benchmark", "export", folder / run, "--out", folder / run / "records.parquet")
            call("-m", "xai", "report", folder / run)
    for tower, model in models.items():
        examples = options.out / tower / "examples.png"
        if options.runs and not examples.is_file():
            words = ["--manifest", images / "forged.csv", "--out", examples]
            words += ["--device", options.device] if options.device else []
            call("benchmarks/clip_examples.py", "--model", model, *words)
    if set(options.runs) >= {"forged", "precision", "operators", "tuned"}:
        call("benchmarks/clip_findings.py", options.out, *options.towers)
    if options.publish:
        publish(options.towers, options.out, options.publish)


if __name__ == "__main__":
    main()
