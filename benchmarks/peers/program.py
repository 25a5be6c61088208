"""What the three programs share: options, the run of rows one by one, and files written after each."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers

from benchmarks.measure import device_name, merged, save_results
from benchmarks.peers.pairs import Row, run_row, version
from xai.core.files import write_bytes

PACKAGES = (
    "captum",
    "grad-cam",
    "legrad_torch",
    "open_clip_torch",
    "quantus",
    "timm",
    "torchcam",
    "torchvision",
)


def options_of(doc: str, budget: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--pairs", type=int, default=20, help="rounds of a row at the most")
    parser.add_argument("--budget", type=float, default=budget, help="seconds of a row's rounds, about")
    parser.add_argument("--limit", type=int, default=1800, help="seconds that a part of a row may take")
    parser.add_argument(
        "--rows", nargs="*", help="only rows whose name holds one of these; the others of an earlier run stay"
    )
    parser.add_argument("--missing", action="store_true", help="only rows that an earlier run lacks")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--quick", action="store_true", help="shows that it works; the figures mean nothing")
    parser.add_argument(
        "--out", type=Path, help="default reports/peers; attention_results/peers with --quick"
    )
    return parser


def read(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, checked."""
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("No CUDA device here; use --device cpu.")
    if options.out is None:
        options.out = Path("attention_results/peers" if options.quick else "reports/peers")
    if options.quick:
        options.pairs, options.budget = 1, 5
    return options


def common(options: argparse.Namespace) -> dict:
    """What every job says."""
    said = ("device", "dtype", "threads", "pairs", "budget", "quick")
    return {key: getattr(options, key) for key in said} | {"series": "", "at": ""}


def header_of(options: argparse.Namespace) -> dict:
    header = {
        "device": device_name(options.device),
        "threads": options.threads,
        "dtype": options.dtype,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        **{name: version(name) or "not installed" for name in PACKAGES},
    }
    return {**header, "quick mode": "the figures mean nothing"} if options.quick else header


def place(one: dict) -> tuple[str, str, str]:
    return one["row"], one["series"], one["at"]


def run(
    name: str,
    options: argparse.Namespace,
    rows: Callable[[dict], tuple[Mapping[str, Row], Callable[[dict], dict]]],
    jobs: Sequence[dict],
    write: Callable[[dict, list[dict]], str],
    series: set[str] | None = None,
) -> None:
    """Measure the jobs one by one; every row is on disk as soon as it is known.

    Args:
        name: Of the files.
        options: As read.
        rows: Job → its table's rows and `measure`.
        jobs: In the order of the page.
        write: Header, results → page.
        series: Only jobs of these.
    """
    if options.list:
        print("\n".join(dict.fromkeys(job["row"] for job in jobs)))
        return
    header = header_of(options)
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / f"{name}_{options.device.replace(':', '')}_{options.dtype}"
    file = stem.with_suffix(".json")
    earlier = {"header": header, "results": []}
    if (options.rows is not None or series is not None or options.missing) and file.exists():
        earlier = json.loads(file.read_text())
        merged(earlier, [], header, list(jobs), place)  # refused before anything is measured
    known = {place(one) for one in earlier["results"] if "error" not in one and "ours" in one}
    results: list[dict] = []
    for job in jobs:
        if options.rows is not None and not any(text in job["row"] for text in options.rows):
            continue
        if (series is not None and job["series"] not in series) or (options.missing and place(job) in known):
            continue
        table, measure = rows(job)
        results.append(run_row(measure, table[job["row"]], job, options.limit))
        print(told(results[-1]), flush=True)
        whole = merged(earlier, results, header, list(jobs), place)
        save_results(file, header, whole)
        write_bytes(stem.with_suffix(".md"), write(header, whole).encode())
    print(f"Wrote {stem}.md and .json")


def told(one: dict) -> str:
    """A row in one line."""
    where = " ".join(filter(None, (one["series"], one["at"])))
    name = f"{one['row']}{f' [{where}]' if where else ''}"
    if failed := one.get("error") or one.get("error_theirs"):
        return f"{name}: {failed}"
    ours, ratio = one["ours"], one["ratio"]["median"]
    return f"{name}: ours × {ours['forwards']['median']:.2f}, peer ÷ ours {ratio:.2f}, {one['agreement']}"
