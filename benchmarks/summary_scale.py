"""How `xai benchmark summary` grows with the images of a run: this build and the earlier one by turns.

    python benchmarks/summary_scale.py             # ten minutes; writes reports/speed/summaries.md
    python benchmarks/summary_scale.py --images 1000 --rounds 1

The records are drawn, and written as a run writes them: 16 methods, three controls and the mean of three
random maps, by SRG, deletion and insertion, with curves of 28 points, under two protocols. That makes 20
columns in 22 tables: each metric is analysed on all images, on the real and on the fake ones, and SRG on two
kinds of forgery too. With `--frames 10` ten images each are frames of one video, and videos are resampled.
What a run says of itself comes from a real one of two images. Runs are made once and kept (3.3 GB for the
largest) in `attention_results/speed`; delete them there.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import turns
import yaml

KEPT = turns.REPOSITORY / "attention_results/speed/summary_template"
RUNS = KEPT.with_name("summary_runs")
SHARD, POINTS, DRAWS = 256, 28, 3
SIZES, LARGEST = (1_000, 10_000), 100_000
TARGET_SECONDS, TARGET_MB = 60, 1000
KEYS = ("wall", "cpu", "peak_mb")
TITLE = "Summaries of large runs"
HEADER = [
    "images", "groups", "wall, s", "ratio", "CPU, s", "ratio", "peak memory, MB", "ratio", "numbers apart by",
]  # fmt: skip
PARAGRAPHS = [
    "`xai benchmark summary` as a whole command (reading, statistics, tables and 50 pictures) of runs whose "
    "records are drawn: 20 columns, 22 tables, curves of 28 points, as the program says. The earlier build "
    "and this one by turns on the same folder; ratios pair by pair, median (5th–95th percentile). Last "
    "column: the largest relative difference between numbers of the two `summary.json`; outcomes, counts and "
    "sentences are the same, or the program stops. The smallest size several times, the others once.",
    "From 20,000 images or groups on, this build draws no blocks: intervals follow from the bootstrap's "
    "Edgeworth expansion (see docs/benchmark.md), as the summary says: most of the time saved.",
    f"Targets at {LARGEST:,} images: {TARGET_SECONDS} s on the clock, and {TARGET_MB} MB. In brackets: what "
    "the earlier build would need if it went on as between its two sizes.",
]
METHODS = [
    "gradient_weighted_attention", "attention_rollout", "chefer", "legrad", "mask_gradient", "saliency",
    "input_x_gradient", "token_grad_cam", "token_hires_cam", "token_layer_cam", "grad_eclip", "daam",
    "bt_head", "bt_token", "attn_lrp", "attention_guided_cam",
]  # fmt: skip
CONFIG = {
    "name": "synthetic",
    "model": "demo",
    "data": {"forgeries": {"photos": "shipped", "count": 2, "pristine": False, "seed": 0}},
    "methods": METHODS,
    "controls": {"random_seeds": DRAWS, "greedy_images": 0},
    "protocols": [{"base": base, "steps": POINTS - 1} for base in ("vit-token", "vit-mean")],
    "metrics": ["srg", "deletion", "insertion"],
    "shard_size": SHARD,
    "keep_images": 0,
    "device": "cpu",
}


def template() -> Path:
    """A real run of two images."""
    if not (KEPT / "summary.md").exists():
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        path = KEPT.parent / "summary_template.yaml"
        path.write_text(yaml.safe_dump(CONFIG))
        command = ["-m", "xai", "benchmark", "run", str(path), "--out", str(KEPT)]
        turns.run_command(turns.builds()[1], command)
    return KEPT


def make_run(folder: Path, images: int, frames: int) -> None:
    """A run of so many images whose scores are drawn."""
    real = template()
    about = json.loads((real / "run.json").read_text())
    example = [pq.read_table(path) for path in sorted((real / "parts").iterdir())]
    rng = np.random.default_rng(0)
    parts = folder / "parts"
    parts.mkdir(parents=True)
    plan = []
    for shard, start in enumerate(range(0, images, SHARD)):
        stop = min(start + SHARD, images)
        for like in example:
            key = f"{len(plan):024x}"
            pq.write_table(_part(like, np.arange(start, stop), frames, rng), parts / f"{key}.parquet")
            plan.append((key, shard, start, stop, like["protocol"][0].as_py(), 0))
    schema = pq.read_schema(real / "plan.parquet")
    columns = dict(zip(schema.names, map(list, zip(*plan, strict=True)), strict=True))
    pq.write_table(pa.table(columns, schema=schema), folder / "plan.parquet")
    about["plan"] = {"images": images, "units": len(plan)}
    (folder / "run.json").write_text(json.dumps(about))


def _part(like: pa.Table, images: np.ndarray, frames: int, rng: np.random.Generator) -> pa.Table:
    """The records of one shard and protocol: for every image those of the first image of a real part."""
    names = np.array(like["image"].to_pylist())
    rows = like.filter(pa.array(names == names[0]))
    count, each = len(images), len(rows)
    table = rows.take(np.repeat(np.arange(each), count))  # methods first, then images, as a run has it
    image = np.tile(images, each)
    method = np.repeat(np.arange(each), count)
    name, video = (np.char.add(what, np.char.mod("%06d", of)) for what, of in
                   (("image-", image), ("video-", image // frames)))  # fmt: skip
    kinds = np.array(["upsampling", "splice", None, None, None])[image // frames % 5]
    means = np.array([value.as_py() for value in rows["value"]])
    level = np.random.default_rng(images).normal(0, 1, count)  # images differ, in all parts alike
    curves = means[method, None] + level[image - images[0], None] + rng.normal(0, 3, (len(image), POINTS))
    drawn = {
        "image": pa.array(name),
        "group": pa.array(video if frames > 1 else name),
        "label": pa.array(np.where(kinds == None, "real", "fake")),  # noqa: E711 - cell by cell
        "kind": pa.array(kinds),
        "value": pa.array(curves.mean(1)),
        "curve": pa.ListArray.from_arrays(
            np.arange(0, curves.size + 1, POINTS, dtype=np.int32), curves.ravel()
        ),
        "saturated": pa.array(rng.random(len(image)) < 0.01),
        "tie_fraction": pa.array(rng.choice([0.0, 0.1], len(image))),
        "clean": pa.array(level[image - images[0]]),
        "seconds": pa.array(rng.gamma(9, 0.01, len(image))),
    }
    for column, cells in drawn.items():
        place = table.schema.get_field_index(column)
        table = table.set_column(place, table.schema.field(place), cells)
    return table.replace_schema_metadata(like.schema.metadata)


def apart(first: Any, second: Any) -> float:
    """Largest difference of two numbers in the same place, relative to the larger (under 0.001: to that)."""
    if isinstance(first, dict):
        return max((apart(first[key], second[key]) for key in first), default=0.0)
    if isinstance(first, list):
        return max((apart(*both) for both in zip(first, second, strict=True)), default=0.0)
    if isinstance(first, float):
        return abs(first - second) / max(abs(first), abs(second), 1e-3)
    if first != second:
        raise SystemExit(f"The builds disagree: {first!r} and {second!r}.")
    return 0.0


def by_turns(run: Path, rounds: int) -> tuple[list[tuple[turns.Turn, turns.Turn]], float]:
    """Both builds on the same folder, and how far their summaries are apart."""
    command, pairs = ["-m", "xai", "benchmark", "summary", str(run)], []
    said: list[Any] = []
    for _ in range(rounds):
        found = []
        said.clear()
        for build in turns.builds():
            found.append(turns.run_command(build, command))
            said.append(json.loads((run / "summary.json").read_text())["parts"])
        pairs.append((found[0], found[1]))
    return pairs, apart(*said)


def kept_run(images: int, frames: int) -> Path:
    """The run of so many images, made if there is none yet."""
    run = RUNS / f"{images}-{frames}"
    if not run.exists():
        making = run.with_name(f"{run.name}.part-{os.getpid()}")
        make_run(making, images, frames)
        making.rename(run)
    return run


def main() -> None:
    options = turns.parser(__doc__ or "", rounds=3)
    options.add_argument("--images", type=int, nargs="*", default=SIZES, help="sizes for both builds")
    options.add_argument("--largest", type=int, default=LARGEST, help="size for this build; 0: none")
    options.add_argument("--frames", type=int, nargs="*", default=[1], help="images in a video")
    chosen = options.parse_args()
    rows, slopes = [], {}
    for frames in chosen.frames:
        for images in chosen.images:
            rounds = chosen.rounds if images == min(chosen.images) else 1
            pairs, difference = by_turns(kept_run(images, frames), rounds)
            rows.append(compared(images, frames, pairs, difference))
            slopes[frames, images] = {key: turns.medians(pairs, key)[0] for key in KEYS}
            turns.publish("summaries", TITLE, PARAGRAPHS, HEADER, rows)
        if chosen.largest:
            command = ["-m", "xai", "benchmark", "summary", str(kept_run(chosen.largest, frames))]
            rows.append(alone(chosen.largest, frames, turns.run_command(turns.builds()[1], command), slopes))
            turns.publish("summaries", TITLE, PARAGRAPHS, HEADER, rows)
    print(turns.publish("summaries", TITLE, PARAGRAPHS, HEADER, rows).read_text())


def compared(
    images: int, frames: int, pairs: list[tuple[turns.Turn, turns.Turn]], difference: float
) -> list[str]:
    cells = [f"{images:,}", "none" if frames == 1 else f"videos of {frames}"]
    for key, digits in zip(KEYS, (1, 1, 0), strict=True):
        first, second = turns.medians(pairs, key)
        cells += [f"{first:.{digits}f} → {second:.{digits}f}", turns.percentiles(turns.ratios(pairs, key))]
    return [*cells, f"{difference:.0e}"]


def alone(images: int, frames: int, turn: turns.Turn, slopes: dict) -> list[str]:
    """This build beside what the earlier one would need if it went on as between its two largest runs."""
    cells = [f"{images:,}", "none" if frames == 1 else f"videos of {frames}"]
    sizes = sorted(size for of, size in slopes if of == frames)[-2:]
    for key, digits in zip(KEYS, (1, 1, 0), strict=True):
        now = turns.value(turn, key)
        if len(sizes) < 2:
            cells += [f"{now:.{digits}f}", ""]
            continue
        low, high = (slopes[frames, size][key] for size in sizes)
        then = high + (high - low) / (sizes[1] - sizes[0]) * (images - sizes[1])
        cells += [f"({then:.0f}) → {now:.{digits}f}", f"({then / now:.1f})"]
    within = turn.wall <= TARGET_SECONDS, turn.figures["peak_mb"] <= TARGET_MB
    return [*cells, f"targets met: time {_yes(within[0])}, memory {_yes(within[1])}"]


def _yes(met: bool) -> str:
    return "yes" if met else "no"


if __name__ == "__main__":
    main()
