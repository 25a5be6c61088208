"""How much of the wall time of perturbation curves is the model's own, beside other people's loops.

    python benchmarks/stream_efficiency.py                # peers that are not installed are named as such
    python benchmarks/stream_efficiency.py --with-peers   # makes .venv-peers (benchmarks/peers.txt)
    python benchmarks/stream_efficiency.py --device cuda --dtype bfloat16 --images 64

The task is the same for all: deletion and insertion curves of the softmax probability, removed pixels set to
zero, the same images, maps, steps and batch size. The figure is wall time ÷ (forwards × time of one image in
plain full batches), which is 1 for a loop that costs nothing. The plain batches are timed right before and
right after each run of each loop; runs of the loops alternate; the figure is the median of the runs' ratios.
Forwards are counted at the model. A second figure divides by the forwards that the task needs, so that a loop
which asks for too many is not flattered by its own count. Every row is written as soon as it is known.
"""

import argparse
import importlib.metadata
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import xai
from benchmarks.attribution_cost import Detector
from benchmarks.measure import device_name, save_results
from benchmarks.stream_loops import LOOPS, SIDE, Counted, Curves, Loop, Task
from xai.core import keep_freed_memory

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".venv-peers"

# ------------------------------------------------------------------------------------------------ measurement


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def pure(task: Task, batches: int) -> np.ndarray:
    """Wall and CPU seconds of one image in plain full batches that are on the device already."""
    synchronize(task.pixels.device)
    start = clocks()
    with torch.inference_mode():
        for _ in range(batches):
            task.model(task.pixels)
    synchronize(task.pixels.device)
    return (clocks() - start) / batches / len(task.pixels)


def clocks() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def once(task: Task, call: Callable[[], Curves], batches: int) -> tuple[dict, Curves]:
    """One run of a loop between two runs of plain batches."""
    before = pure(task, batches)
    task.model.images = 0
    synchronize(task.pixels.device)
    start = clocks()
    curves = call()
    synchronize(task.pixels.device)
    wall, cpu = clocks() - start
    forwards = task.model.images
    plain, plain_cpu = (before + pure(task, batches)) / 2
    run = {"wall": wall, "cpu": cpu, "forwards": forwards, "pure": plain, "pure_cpu": plain_cpu}
    return {key: value if key == "forwards" else float(value) for key, value in run.items()}, curves


def summarise(loop: Loop, task: Task, runs: list[dict]) -> dict:
    def spread(values: list[float]) -> dict[str, float]:
        return {"median": statistics.median(values), "low": min(values), "high": max(values)}

    needed = task.needed(loop.curves)
    return {
        "loop": loop.name,
        "task": loop.task,
        "note": loop.note,
        "forwards": runs[0]["forwards"],
        "needed": needed,
        "ratio": spread([r["wall"] / (r["forwards"] * r["pure"]) for r in runs]),
        "ratio_needed": spread([r["wall"] / (needed * r["pure"]) for r in runs]),
        "ratio_cpu": spread([r["cpu"] / (r["forwards"] * r["pure_cpu"]) for r in runs]),
        "overhead_ms": spread([1e3 * (r["wall"] / r["forwards"] - r["pure"]) for r in runs]),
        "runs": runs,
    }


def measure(
    name: str, task: Task, loops: tuple[Loop, ...], repeats: int, batches: int, save: Callable
) -> None:
    """All loops on one model; their runs alternate, and rows are saved after every round."""
    calls, rows = {}, {}
    for loop in loops:
        try:
            calls[loop] = loop.make(task)
        except ImportError:
            save({"model": name, "loop": loop.name, "task": loop.task, "error": "not installed"})
    reference = None
    for repeat in range(repeats + 1):  # the first round warms up, and shows that the values agree
        for loop, call in list(calls.items()):
            try:
                run, curves = once(task, call, batches)
            except Exception as error:  # a peer that fails is a row, not the end
                save({"model": name, "loop": loop.name, "task": loop.task, "error": repr(error)[:200]})
                del calls[loop]
                continue
            if repeat == 0:
                rows[loop] = {"model": name, "runs": []}
                if loop.name == "xai stream, pixels":
                    reference = curves
                elif loop.comparable and reference is not None:
                    rows[loop]["difference"] = float(np.abs(curves - reference).max())
                if repeats:
                    continue
            rows[loop]["runs"].append(run)
            save({**rows[loop], **summarise(loop, task, rows[loop]["runs"])})


def make_task(name: str, options: argparse.Namespace, images: int) -> Task:
    torch.manual_seed(0)
    device = torch.device(options.device)
    generator = torch.Generator().manual_seed(0)
    if name == "demo detector":
        from xai.data import forged_samples

        model = xai.load("demo")
        pixels = torch.stack([model.preprocess(sample.image) for sample in forged_samples(count=images)])
    else:
        model = Detector(SIDE, "sdpa")
        pixels = torch.randn(images, 3, SIDE, SIDE, generator=generator)
    autocast = None if options.dtype == "float32" else getattr(torch, options.dtype)
    counted = Counted(model.requires_grad_(False), autocast).eval().to(device)
    pixels = pixels.to(device)
    maps = torch.stack(
        [
            torch.randperm(SIDE * SIDE, generator=generator).float().reshape(SIDE, SIDE)
            for _ in range(options.maps * images)
        ]
    ).reshape(options.maps, images, SIDE, SIDE)
    with torch.inference_mode():
        targets = counted(pixels).argmax(1).cpu().clone()
    return Task(counted, pixels, maps.to(device), targets, options.steps)


# ----------------------------------------------------------------------------------------------------- report


TEXT = """# Efficiency of the stream of perturbed images

Written by `python benchmarks/stream_efficiency.py`; every run is in the JSON beside it. The ratio is wall
time ÷ (forwards × time of one image in plain full batches), the plain batches timed around every run; median
of the runs, smallest and largest in brackets; 1 is the ideal. *× needed* divides by the forwards that the
task needs instead of those that the loop asks for. *CPU time* is the first ratio in CPU seconds instead of
wall time, which other programs on the machine disturb less. Same images, maps, steps and batch size for all.
"""
COLUMNS = (
    "loop",
    "curves",
    "forwards (needed)",
    "× pure forward",
    "× needed",
    "CPU time",
    "ms more",
    "remarks",
)


def markdown(header: dict, results: list[dict]) -> str:
    lines = [TEXT, ", ".join(f"{key} {value}" for key, value in header.items()) + "."]
    for model in dict.fromkeys(row["model"] for row in results):
        lines += [
            "",
            f"## {model}",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "|---|---|---:|---:|---:|---:|---:|---|",
        ]
        for row in results:
            if row["model"] == model:
                lines.append(f"| {' | '.join(cells(row))} |")
    return "\n".join(lines) + "\n"


def cells(row: dict) -> tuple[str, ...]:
    if "error" in row:
        return row["loop"], row["task"], "", row["error"], "", "", "", ""
    remarks = [row["note"]] if row["note"] else []
    if "difference" in row:
        remarks.append(f"values differ from the stream's by {row['difference']:.1e} at most")
    return (
        row["loop"],
        row["task"],
        f"{row['forwards']} ({row['needed']})",
        _figure(row["ratio"]),
        _figure(row["ratio_needed"]),
        f"{row['ratio_cpu']['median']:.2f}",
        f"{row['overhead_ms']['median']:.2f}",
        "; ".join(remarks),
    )


def _figure(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f} ({spread['low']:.2f}–{spread['high']:.2f})"


def with_peers() -> None:
    """Install the peers into an environment of their own, and go on there."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)  # noqa: S603
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    files = ["-c", "constraints-interop.txt", "-r", "benchmarks/peers.txt"]
    subprocess.run([*install, *files], check=True, cwd=ROOT)  # noqa: S603
    rest = [argument for argument in sys.argv[1:] if argument != "--with-peers"]
    os.execv(str(python), [str(python), str(Path(__file__).resolve()), *rest])  # noqa: S606


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="float32, or the type of autocast for all loops")
    parser.add_argument("--images", type=int, help="default 16 (CLIP on a CPU: 1), on a GPU 64")
    parser.add_argument("--maps", type=int, default=2, help="attribution methods, so to speak")
    parser.add_argument(
        "--steps", type=int, default=28, help="must divide the 50176 pixels (and 196 patches)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="CLIP on a CPU: 1")
    parser.add_argument("--batches", type=int, default=4, help="plain batches before and after each run")
    parser.add_argument("--models", nargs="*", default=["demo detector", "CLIP ViT-B/16"])
    parser.add_argument("--loops", help="only the loops whose name holds this")
    parser.add_argument("--quick", action="store_true", help="shows that it works; the figures mean nothing")
    parser.add_argument("--with-peers", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    options = parser.parse_args()
    if options.with_peers:
        with_peers()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("No CUDA device here; use --device cpu.")
    if options.quick:
        options.images, options.steps, options.repeats, options.batches = 2, 4, 1, 1
    warnings.filterwarnings("ignore")  # the peers' own
    gpu = options.device.startswith("cuda")
    if not gpu:  # as the command line does; else the kernel's pages are timed with every loop
        keep_freed_memory()
    header = {
        "device": device_name(options.device),
        "threads": torch.get_num_threads(),
        "dtype": options.dtype,
        "maps": options.maps,
        "steps": options.steps,
        "runs": options.repeats,
        "torch": torch.__version__,
        **({} if gpu else {"freed memory": "kept"}),
        "numpy": np.__version__,
        **{peer: version(peer) for peer in ("quantus", "torchcam")},
    }
    if options.quick:
        header["quick mode"] = "the figures mean nothing"
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / f"stream_efficiency_{options.device.replace(':', '')}_{options.dtype}"
    results: dict[tuple[str, str], dict] = {}

    def save(row: dict) -> None:
        results[row["model"], row["loop"]] = row
        order = [loop.name for loop in LOOPS]
        rows = sorted(results.values(), key=lambda r: (options_models(r["model"]), order.index(r["loop"])))
        save_results(stem.with_suffix(".json"), header, rows)
        stem.with_suffix(".md").write_text(markdown(header, rows))
        figure = row.get("error") or f"{row['ratio']['median']:.3f} × pure, {row['forwards']} forwards"
        print(f"{row['model']}: {row['loop']}: {figure}", flush=True)

    def options_models(name: str) -> int:
        return next(i for i, model in enumerate(options.models) if name.startswith(model))

    loops = tuple(loop for loop in LOOPS if (options.loops or "") in loop.name)
    for name in options.models:
        slow = not gpu and name != "demo detector"  # a forward takes so long that a few tell enough
        images = options.images or (64 if gpu else 1 if slow else 16)
        task = make_task(name, options, images)
        label = f"{name}, {images} images"
        repeats, batches = (1, 1) if slow else (options.repeats, options.batches)
        measure(label, task, loops, repeats, batches, save)
    print(f"Wrote {stem}.md and .json")


if __name__ == "__main__":
    main()
