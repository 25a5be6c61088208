"""`xai report` of a run with 200 images and 10 methods: this build and the earlier one by turns.

    python benchmarks/report_speed.py                # two minutes, after a quarter of an hour for the run
    python benchmarks/report_speed.py --run FOLDER   # of a run that is there

The run is made once by the earlier build, so that both can read it, and kept: forgeries of the shipped
photographs, cheap methods, the shipped detector.
"""

import argparse
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import turns
import yaml

KEPT = turns.REPOSITORY / "attention_results/speed/report_run"
TARGET = 2.0
CONFIG = {
    "name": "report",
    "model": "demo",
    "data": {
        "forgeries": {
            "photos": "shipped", "count": 200, "kinds": ["upsampling", "noise"], "pristine": False, "seed": 0,
        }
    },
    "methods": [
        "gradient_weighted_attention", "attention_rollout", "chefer", "legrad", "mask_gradient",
        "input_x_gradient",
    ],
    "controls": {"random_seeds": 1, "greedy_images": 0},
    "protocols": [{"base": "vit-token", "steps": 6}],
    "metrics": ["srg", "deletion", "insertion", "pointing_game", "mass_accuracy"],
    "shard_size": 40,
    "device": "cpu",
}  # fmt: skip
CHANGES = {"created", "version", "version_of_the_page"}


def made() -> Path:
    """The run, made if need be."""
    if not (KEPT / "summary.md").exists():
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        path = KEPT.parent / "report_run.yaml"
        path.write_text(yaml.safe_dump(CONFIG))
        turns.run_command(turns.builds()[0], ["-m", "xai", "benchmark", "run", str(path), "--out", str(KEPT)])
    return KEPT


def lacking(first: Any, second: Any, place: str = "") -> list[str]:
    """What the first data say and the second do not, or say otherwise; numbers may differ by rounding."""
    if isinstance(first, dict):
        return [
            fault
            for key, value in first.items()
            if key not in CHANGES
            for fault in lacking(value, (second or {}).get(key), f"{place}.{key}")
        ]
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [fault for both in zip(first, second, strict=True) for fault in lacking(*both, f"{place}[]")]
    if isinstance(first, float) and isinstance(second, float):
        return [] if abs(first - second) <= 1e-9 * max(1, abs(first)) else [place]
    return [] if first == second else [place]


def main() -> None:
    options: argparse.ArgumentParser = turns.parser(__doc__ or "", rounds=7)
    options.add_argument("--run", type=Path, help="folder of a run")
    chosen = options.parse_args()
    run = chosen.run or made()
    with TemporaryDirectory() as folder:
        pages = [Path(folder) / f"{name}.html" for name in ("base", "now")]
        commands = {page.stem: ["-m", "xai", "report", str(run), "--out", str(page)] for page in pages}
        os.environ["XAI_CACHE"] = str(Path(folder) / "cache")
        bundled = turns.run_command(turns.builds()[1], commands["now"])
        pairs = turns.command_turns(commands, chosen.rounds, warm_up=0)
        sizes = [page.stat().st_size for page in pages]
        data = []
        for build in turns.builds():
            path = Path(folder) / f"{build.name}.json"
            turns.run_command(build, ["-m", "xai", "report", str(run), "--data-only", "--out", str(path)])
            data.append(json.loads(path.read_text()))
    faults = sorted(set(lacking(*data)))
    rows = []
    usual = turns.medians(pairs)[1]
    for key, name in (("cpu", "CPU, s"), ("wall", "wall, s"), ("peak_mb", "peak memory, MB")):
        first, second = turns.medians(pairs, key)
        found = turns.ratios(pairs, key)
        met = ("yes" if found["median"] >= TARGET else "no") if key != "peak_mb" else ""
        rows.append([name, f"{first:.2f}", f"{second:.2f}", turns.percentiles(found), met])
    rows.append(
        ["page, MB", f"{sizes[0] / 1e6:.2f}", f"{sizes[1] / 1e6:.2f}", f"{sizes[0] / sizes[1]:.3f}", ""]
    )
    paragraphs = [
        f"`xai report` as a whole command of a run with {len(data[1]['images'])} images and "
        f"{len(data[1]['rows'])} rows; target {TARGET:g} times the earlier build. Ratios pair by pair, "
        "median (5th–95th percentile).",
        "The charts' library is in the cache, as for every page of an installation but the first, which "
        f"takes {bundled.cpu - usual:.1f} s of CPU longer.",
        "The data of both pages are the same but for: " + (", ".join(faults) or "nothing") + ".",
    ]
    path = turns.publish(
        "report", "A run's page", paragraphs, ["", "earlier", "now", "ratio", "target met"], rows
    )
    print(path.read_text())


if __name__ == "__main__":
    main()
