"""What keeping freed memory brings, on a CPU under Linux: seconds, page faults, peak memory.

Processes with and without `keep_freed_memory` take turns; each call is made twice to warm up, then timed.

    python benchmarks/freed_memory.py             # writes reports/freed_memory.{md,json}
    python benchmarks/freed_memory.py --rounds 2
"""

import argparse
import json
import platform
import resource
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import xai
from benchmarks.attribution_cost import Detector
from benchmarks.measure import device_name, in_fresh_process, spread, timed
from xai.attr import create
from xai.core import keep_freed_memory
from xai.core.files import write_bytes

REPORTS = Path(__file__).parents[1] / "reports"


@dataclass(frozen=True)
class Case:
    """What one row runs.

    Args:
        model: `demo`, or ViT-B/16 shapes with random weights.
        method: None for a plain forward pass.
        images: Of the batch.
    """

    model: str
    method: str | None
    images: int

    @property
    def name(self) -> str:
        return f"{self.model}, {self.method or 'forward pass'}, {self.images} image{'s' * (self.images > 1)}"


CASES = (
    Case("demo", None, 4),
    Case("demo", None, 32),
    Case("demo", "gradient_weighted_attention", 8),
    Case("demo", "integrated_mask_gradient", 1),
    Case("ViT-B/16", None, 1),
    Case("ViT-B/16", None, 8),
    Case("ViT-B/16", "gradient_weighted_attention", 8),
    Case("ViT-B/16", "integrated_mask_gradient", 1),
)
OPTIONS = {"integrated_mask_gradient": {"n_steps": 8, "internal_batch_size": 32}}  # all steps in one pass


def call_of(case: Case) -> Callable[[], object]:
    torch.manual_seed(0)
    model = xai.load("demo") if case.model == "demo" else Detector(224, "sdpa")
    model = model.eval().requires_grad_(False)
    pixels = torch.randn(case.images, 3, 224, 224)
    if case.method is None:

        def forward() -> None:
            with torch.no_grad():
                model(pixels)

        return forward
    method = create(case.method, model, **OPTIONS.get(case.method, {}))
    return lambda: method.attribute_patches(pixels, 1)


def measure(job: dict) -> dict:
    """Median seconds, page faults a call and peak megabytes of one process."""
    if job["kept"] and not keep_freed_memory():
        raise RuntimeError("What is freed cannot be kept here: not glibc, or the environment says otherwise.")
    torch.set_num_threads(job["threads"])
    call, device = call_of(CASES[job["case"]]), torch.device("cpu")
    warm = [timed(call, device) for _ in range(2)]
    calls = max(3, min(20, int(job["budget"] / warm[1])))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    seconds = [timed(call, device) for _ in range(calls)]
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": statistics.median(seconds),
        "faults": (used.ru_minflt - before) / calls,
        "peak_mb": used.ru_maxrss / 2**10,
    }


def row(case: int, common: dict, rounds: int) -> dict:
    found: dict[bool, list[dict]] = {False: [], True: []}
    for turn in range(rounds):
        for kept in (False, True)[:: 1 if turn % 2 else -1]:
            found[kept].append(in_fresh_process(measure, {**common, "case": case, "kept": kept}))
    if failed := [one["error"] for side in found.values() for one in side if "error" in one]:
        raise SystemExit(f"{CASES[case].name}: {failed[0]}")
    pairs = zip(found[False], found[True], strict=True)
    sides = {
        name: {key: statistics.median(one[key] for one in found[kept]) for key in found[kept][0]}
        for name, kept in (("given_back", False), ("kept", True))
    }
    ratio = spread([given["seconds"] / kept["seconds"] for given, kept in pairs])
    return {"case": CASES[case].name, "ratio": ratio, **sides}


def page(header: dict, rows: list[dict]) -> str:
    lines = [
        "# Memory that is kept, or given back",
        "",
        "By default the C library gives large blocks back to the kernel as tensors are freed, and gets",
        "zeroed pages for the next ones. `xai.core.keep_freed_memory`, which the command `xai` and the",
        "workers of a cluster call, keeps them. Processes take turns; medians of the rounds, 5th and 95th",
        "percentile of their ratio in brackets. Faults are pages that the kernel had to hand out in a",
        "call; peak is of the process.",
        "",
        ", ".join(f"{key} {value}" for key, value in header.items()) + ".",
        "",
        "| call | given back, s | kept, s | given back ÷ kept | faults, given back | kept | peak MB, given back | kept |",  # noqa: E501
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in rows:
        given, kept, ratio = one["given_back"], one["kept"], one["ratio"]
        between = f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})"
        lines.append(
            f"| {one['case']} | {given['seconds']:.3g} | {kept['seconds']:.3g} | {between} "
            f"| {given['faults']:,.0f} | {kept['faults']:,.0f} "
            f"| {given['peak_mb']:.0f} | {kept['peak_mb']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=3, help="seconds of the timed calls, about")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=REPORTS / "freed_memory")
    options = parser.parse_args()
    common = {"threads": options.threads, "budget": options.budget}
    header = {
        "device": device_name("cpu"),
        "C library": " ".join(platform.libc_ver()),
        "threads": options.threads,
        "torch": torch.__version__,
        "rounds": options.rounds,
    }
    rows: list[dict] = []
    for case in range(len(CASES)):
        rows.append(row(case, common, options.rounds))
        print(json.dumps(rows[-1]), flush=True)
    written = json.dumps({"header": header, "rows": rows}, indent=1) + "\n"
    write_bytes(options.out.with_suffix(".json"), written.encode())
    write_bytes(options.out.with_suffix(".md"), page(header, rows).encode())
    print(f"Wrote {options.out}.md and .json")


if __name__ == "__main__":
    main()
