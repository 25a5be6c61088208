"""Do the default and the presets hold on detectors that took no part in choosing them? Several heads a tower.

    xai models fetch clip-vit-b16 && xai models fetch dinov2-small
    python benchmarks/many_heads.py --portraits DIR                 # for two CPU cores: most of a day
    python benchmarks/many_heads.py --portraits DIR --size gpu --device cuda
    python benchmarks/many_heads.py --portraits DIR --size quick    # shows that it works

On CLIP ViT-B/16, DINOv2-S and a small ResNet (no attention at all), three heads each: `HEADS` for other kinds
of forgery, at other strengths, from other seeds. Every head has a third of the portraits held out, another
third each; it is measured on forgeries of these alone. The work is cut into blocks in which a head's kinds
take turns, and heads, runs and towers take turns (processes for other heads may share a folder): whatever is
finished when it is stopped is a smaller benchmark of the same balance, and the same command goes on, also on
another machine, where with `--publish` records were published there: the heads are fitted again. At the end,
or with `--findings` at any time, `many_heads_findings.py` says what the finished blocks show. Portraits: see
`train_clip_detector.py`.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import small_detectors, without_attention
from benchmarks.clip_forgery import CONFIGS, call, in_turns, write_csv
from benchmarks.frozen_head import (
    SIDE,
    Photo,
    choose_penalty,
    embed_pairs,
    fit,
    forged_crops,
    measure,
    read_tower,
    write_detector,
)
from benchmarks.many_heads_plan import (
    EXACT,
    HEADS,
    HEADS_FILE,
    LEADING,
    RUNS,
    SIZES,
    SMALL,
    TOWERS,
    TUNED_NORMS,
    Block,
    Run,
    Size,
    block_of,
    blocks,
    head_of,
    read_heads,
)
from benchmarks.many_heads_tables import blocks_of
from benchmarks.many_heads_tables import read_records as read_published
from benchmarks.train_clip_detector import PORTRAITS
from benchmarks.tuned_norms import tune_norms
from xai import load
from xai.bench import read_records, run_benchmark
from xai.core import ConfigError
from xai.data.forgery import KINDS
from xai.models.fetch import cache_folder

SAME_AUC = 0.02
"""By which AUCs of one head may differ that was fitted twice, on other processors."""


def read_third(folder: Path, head: str, held_out: bool) -> dict[str, Photo]:
    """The portraits that a head has held out, or those that it is fitted on, by name."""
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        sys.exit(f"There is no *.jpg in {folder}.")
    third = list(HEADS).index(head)
    chosen = [path for i, path in enumerate(paths) if (i % len(HEADS) == third) == held_out]
    return {f"{PORTRAITS}{path.stem}": np.asarray(Image.open(path).convert("RGB")) for path in chosen}


# -------------------------------------------------------------------------------------------------- detectors


def make_detector(tower: str, head: str, options: argparse.Namespace, size: Size) -> dict[str, Any]:
    """Fit a head, unless that is done; returns what `evaluation.json` says of it, with what `xai` loads."""
    out = options.out / tower / head / "detector"
    wanted = {"kinds": list(head_of(tower, head).kinds), "strength": head_of(tower, head).strength}
    wanted |= {"seed": list(HEADS).index(head)}
    wanted |= {"steps": size.steps} if tower == SMALL else {"pairs": size.pairs}
    wanted |= {"pairs for the norms": size.tuned} if tower in TUNED_NORMS else {}
    path = out / "evaluation.json"
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        start = time.process_time()
        found = (fit_small if tower == SMALL else fit_head)(tower, head, out, options, size)
        found |= {"training": wanted, "seconds": round(time.process_time() - start)}
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{tower}, {head}: {json.dumps(found['held out'])}", flush=True)
    found = json.loads(path.read_text("utf-8"))
    if found["training"] != wanted:
        sys.exit(f"{out} was fitted with {found['training']}, not {wanted}: give another --out.")
    before = read_heads(options.publish).get(f"{tower}/{head}", found["held out"])["value"]
    if abs(found["held out"]["value"] - before) > SAME_AUC:
        sys.exit(
            f"{tower}, {head}: AUC {found['held out']['value']:.3f} held out, but {before:.3f} in "
            f"{options.publish / HEADS_FILE}: another head. Publish in another folder."
        )
    return found


def fit_head(tower: str, head: str, out: Path, options: argparse.Namespace, size: Size) -> dict[str, Any]:
    """A logistic regression on the class token of a tower, its penalty chosen over sources."""
    if not (source := cache_folder() / "models" / tower).is_dir():
        call("-m", "xai", "models", "fetch", tower)
    network, kinds = read_tower(source, patches=False), head_of(tower, head).kinds
    strength, seed = head_of(tower, head).strength, list(HEADS).index(head)
    known, unseen = (read_third(options.portraits, head, held_out) for held_out in (False, True))
    each, steps = (-(-pairs // len(kinds)) for pairs in (size.pairs, size.tuned))
    if tower in TUNED_NORMS:
        tune_norms(network, {}, known, kinds, steps, seed + 100, strength)  # other crops than the head's
    tables = []
    for faces, count, held_out in ((known, each, False), (unseen, -(-size.tested // len(kinds)), True)):
        crops = forged_crops({}, faces, kinds, count, seed + 200 + held_out, strength)
        pairs = ((one.forgery.kind, one.source, one.pristine, one.forgery.image) for one in crops)
        with torch.autocast("cpu", torch.bfloat16, enabled=not held_out):
            tables.append(embed_pairs(network, pairs, 32))
    train, test = tables
    scaler = StandardScaler().fit(train.features)
    fitted = fit(train, scaler, choose_penalty(train, scaler))
    model = write_detector(network, fitted, out)
    return {"model": model, "held out": measure(test, fitted, seed), "pairs": len(train.kind)}


def fit_small(tower: str, head: str, out: Path, options: argparse.Namespace, size: Size) -> dict[str, Any]:
    """A small detector from scratch; the fit goes on from its last checkpoint."""
    known, unseen = (read_third(options.portraits, head, held_out) for held_out in (False, True))
    kinds, strength = head_of(tower, head).kinds, head_of(tower, head).strength
    seed = list(HEADS).index(head)
    said = argparse.Namespace(steps=size.steps, batch=16, seed=seed, out=out)
    model, _ = small_detectors.train(tower, known, said, kinds, strength)
    each = max(1, size.tested // len(unseen))
    found = small_detectors.evaluate(model, unseen, each, seed + 200, strength, kinds)
    small_detectors.save(model, out)
    tested = found["auc"] | {key: found[key] for key in ("pairs", "sources")}
    return {"model": f"local:{out}", "held out": tested, "pairs": 16 * size.steps}


# ----------------------------------------------------------------------------------------------------- images


def write_forgeries(tower: str, head: str, options: argparse.Namespace, size: Size) -> Path:
    """Forgeries of the portraits that a head has held out; `forged.csv`, in which kinds take turns."""
    folder = options.out / "images" / (SMALL if tower == SMALL else "towers") / head
    path, kinds, block = folder / "forged.csv", head_of(tower, head).kinds, block_of(tower, head)
    if path.is_file():
        return path
    sources = folder / "sources"
    sources.mkdir(parents=True, exist_ok=True)
    for name, photo in read_third(options.portraits, head, True).items():
        Image.fromarray(photo).save(sources / f"{Path(name).name}.png", compress_level=1)
    count = -(-max(size.images.values()) // block) * block // len(kinds)  # of each kind
    rows = []
    for portrait in (False, True):
        some = [kind for kind in kinds if KINDS[kind].portrait == portrait]
        if not some:
            continue
        out = folder / ("portrait" if portrait else "local")
        words = ["--out", out, "--kinds", ",".join(some), "--count", count * len(some), "--no-pristine"]
        words += ["--size", small_detectors.SIDE if tower == SMALL else SIDE]
        words += ["--strength", head_of(tower, head).strength, "--seed", list(HEADS).index(head)]
        call("-m", "xai", "forge", sources, *words)
        with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
            rows += [
                row | {key: str(Path(out.name) / row[key]) for key in ("path", "mask")}
                for row in csv.DictReader(file)
            ]
    write_csv(path, in_turns(rows, list(HEADS).index(head)))
    return path


def write_block(manifest: Path, number: int, block: int, images: int) -> Path:
    """One block of a manifest as a manifest."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[number * block : (number + 1) * block]
    path = manifest.with_name(f"block_{number:02}_{images}.csv")
    write_csv(path, rows[:images])
    return path


# ------------------------------------------------------------------------------------------------------- runs


def rows_of(run: Run, model: str) -> dict[str, Any]:
    """The configuration of a run: methods, protocols and the rest."""
    if run.tower == SMALL:
        grid = without_attention.GRID
        classifier = load(model, grid=grid)
        rows = without_attention.named([*without_attention.CANDIDATES, *without_attention.OTHERS])
        return {
            "model": {"spec": model, "grid": grid},
            "methods": [row for row in rows if without_attention.works(row, classifier)],
            "protocols": list(without_attention.PROTOCOLS),
            "controls": {"random_seeds": 1, "raw_attention": False, "greedy_images": 0},
        }
    source = "costly" if run.name == "costly" else "forged"
    config = yaml.safe_load((CONFIGS / f"{source}.yaml").read_text("utf-8"))
    rows = without_attention.named(
        [{"method": one} if isinstance(one, str) else one for one in config["methods"]]
    )
    chosen = {"leading": LEADING, "exact": EXACT}.get(run.name)
    rows = [row for row in rows if (row["name"] in chosen if chosen else row["name"] not in LEADING)]
    controls = {"random_seeds": 1, "center_prior": True, "sobel": False, "raw_attention": True}
    nothing = {"random_seeds": 0, "center_prior": False, "sobel": False, "raw_attention": False}
    return {
        "model": model,
        "methods": rows,
        "protocols": config["protocols"],
        "controls": (controls if run.name == "leading" else nothing) | {"greedy_images": 0},
        "autocast": None if run.name == "exact" else "bfloat16",
    }


def do(block: Block, options: argparse.Namespace, size: Size) -> None:
    """Explain and measure the images of a block, unless that is done."""
    folder = block.folder(options.out)
    if (folder / "records.parquet").is_file():
        return
    model = make_detector(block.run.tower, block.head, options, size)["model"]
    manifest = write_forgeries(block.run.tower, block.head, options, size)
    start, used = time.monotonic(), time.process_time()
    part = write_block(manifest, block.number, block_of(block.run.tower, block.head), block.images)
    config = {
        "name": f"{block.run.tower} {block.head} {block.run.name} {block.number}",
        "data": {"manifest": str(part)},
        "metrics": ["srg", "deletion", "insertion", "pointing_game", "average_precision"],
        "explain": "margin",
        "seed": 0,
        "batch_size": 32,
        "shard_size": 1,
        "keep_images": 0,
        "device": options.device,
        **rows_of(block.run, model),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    try:
        run_benchmark(path, folder / "run")
    except ConfigError as error:  # begun with other settings or by another version: a block is soon done anew
        print(f"{config['name']}: begun anew. {error}", flush=True)
        rmtree(folder / "run")
        run_benchmark(path, folder / "run")
    records = read_records(folder / "run")
    columns = ["image", "group", "kind", "method", "control", "seed", "metric", "protocol", "value"]
    records[columns].to_parquet(folder / "records.tmp")
    (folder / "records.tmp").replace(folder / "records.parquet")
    took, used = (
        (now - before) / block.images
        for now, before in ((time.monotonic(), start), (time.process_time(), used))
    )
    print(
        f"{config['name']}: {block.images} images, {took:.1f} s an image, {used:.1f} s of processor",
        flush=True,
    )


def parse() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--portraits", type=Path, required=True, help="folder of portraits")
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--towers", nargs="+", choices=TOWERS, default=TOWERS)
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=HEADS, help="of these alone")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS, help="do these first and stop")
    parser.add_argument("--device", help="cpu, cuda …; default that of the machine")
    parser.add_argument("--out", type=Path, default=Path("attention_results/many-heads"))
    parser.add_argument("--publish", type=Path, help="folder for what is worth keeping; goes on from there")
    parser.add_argument("--findings", action="store_true", help="of what is finished; nothing is run")
    options = parser.parse_args()
    options.out, options.portraits = options.out.absolute(), options.portraits.absolute()
    return options


def main() -> None:
    options = parse()
    size = SIZES[options.size]
    if not options.findings:
        done = blocks_of(read_published(options.publish))
        for block in blocks(options.towers, size):
            asked = block.run.name in options.runs and block.head in options.heads
            if asked and block.key not in done:
                do(block, options, size)
    words = ["--publish", options.publish] if options.publish else []
    call("benchmarks/many_heads_findings.py", options.out, *words)


if __name__ == "__main__":
    main()
