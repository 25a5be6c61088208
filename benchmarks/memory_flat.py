"""Does a run's memory grow with its data, and how long does a killed one take to go on?

A manifest of many tiny images on the shipped detector. Each run is a process of its own; its resident memory
is read from the kernel some hundred times. The run is killed (SIGKILL), and goes on.

    python benchmarks/memory_flat.py --images 100000      # about 20 min on one core
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, time

import numpy as np
from PIL import Image

from xai.bench import BenchmarkConfig, run_benchmark
from xai.core import keep_freed_memory
from xai.core.files import write_bytes

REPORTS = Path(__file__).parents[1] / "reports"
LOOKS = 200  # at the memory of a whole run
DISTINCT = 500  # pictures that are drawn; the others are the same bytes under other names


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--few", type=int, default=1_000, help="images of the run to compare with")
    parser.add_argument("--kill", type=float, default=0.5, help="at this share of the units")
    parser.add_argument("--until", type=float, default=1.0, help="the resumed call is ended at this share")
    parser.add_argument("--out", type=Path, default=REPORTS / "memory_flat")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(Path(asked.child[0]), Path(asked.child[1]), float(asked.child[2]))
        return
    with TemporaryDirectory() as folder:
        begun = time()
        few = runs(Path(folder) / "few", asked.few, [1.1])
        many = runs(
            Path(folder) / "many", asked.images, [asked.kill, asked.until if asked.until < 1 else 1.1]
        )
    found = {
        "images": asked.images,
        "few": few[0],
        "killed": many[0],
        "resumed": many[1],
        "machine": {"cpu": platform.processor() or platform.machine(), "load": os.getloadavg()[1]},
        "minutes": (time() - begun) / 60,
    }
    write_bytes(asked.out.with_suffix(".json"), (json.dumps(found, indent=1) + "\n").encode())
    text = report(asked, found)
    write_bytes(asked.out.with_suffix(".md"), text.encode())
    print(text)


def runs(folder: Path, images: int, kills: list[float]) -> list[dict]:
    """What the calls of one run say, each killed at its share of the units."""
    folder.mkdir()
    manifest = write_images(folder, images)
    found = []
    for share in kills:
        command = [sys.executable, __file__, "--child", str(manifest), str(folder / "run"), str(share)]
        ended = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - this program
        lines = [json.loads(line) for line in ended.stdout.splitlines()]
        if ended.returncode not in (0, -signal.SIGKILL) or not lines:
            sys.exit(ended.stderr)
        found.append({"start": lines[0], "units": lines[1:]})
    return found


def child(manifest: Path, out: Path, kill: float) -> None:
    """One call, which says after how long it is ready, and then what memory it holds."""
    config = BenchmarkConfig.model_validate({
        "data": {"manifest": str(manifest)},
        "methods": ["raw_attention"],
        "controls": {"random_seeds": 0, "center_prior": False, "sobel": False, "raw_attention": False,
                     "greedy_images": 0},
        "metrics": ["gini"],
        "batch_size": 64,
        "shard_size": 64,
    })  # fmt: skip
    keep_freed_memory()  # as the command does
    begun, last = perf_counter(), -1

    def tell(state) -> None:
        nonlocal last
        if last < 0 or state.done - last >= state.total // LOOKS or state.done == state.total:
            last = state.done
            say = {"seconds": perf_counter() - begun, "done": state.done, "of": state.total}
            print(json.dumps(say | {"megabytes": resident()}), flush=True)
        if state.done > kill * state.total:
            os.kill(os.getpid(), signal.SIGKILL)

    run_benchmark(config, out, progress=tell)
    print(
        json.dumps({"seconds": perf_counter() - begun, "megabytes": resident(), "closed": True}), flush=True
    )


def resident() -> float:
    """Of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def write_images(folder: Path, count: int) -> Path:
    """Noise of 32 × 32 pixels, and the manifest."""
    draws = np.random.default_rng(0)
    Image.fromarray(draws.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "one.png")
    pictures = []
    for _ in range(min(count, DISTINCT)):
        Image.fromarray(draws.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "one.png")
        pictures.append((folder / "one.png").read_bytes())
    lines = ["path,label,group"]
    for number in range(count):
        sub = folder / f"{number // 1000:04d}"
        if number % 1000 == 0:
            sub.mkdir()
        (sub / f"{number:07d}.png").write_bytes(pictures[number % len(pictures)])
        lines.append(f"{sub.name}/{number:07d}.png,{'fake' if number % 2 else 'real'},video{number // 10}")
    (folder / "faces.csv").write_text("\n".join(lines) + "\n")
    return folder / "faces.csv"


def slope(units: list[dict], images: int) -> float:
    """MB per 1000 images, by least squares over the second half of the looks at a run at work."""
    looks = [one for one in units if "done" in one]
    looks = looks[len(looks) // 2 :]
    done = np.array([one["done"] / one["of"] * images for one in looks])
    return (
        float(np.polyfit(done, [one["megabytes"] for one in looks], 1)[0] * 1000) if len(looks) > 2 else 0.0
    )


def report(asked: argparse.Namespace, found: dict) -> str:
    """The tables."""
    images, few = asked.images, asked.few
    lines = [
        "# Memory and data",
        "",
        f"{images} images of 32 × 32 pixels in a manifest, the shipped detector, one method, one metric of "
        f"maps, one process; killed at {asked.kill:.0%} of the units and resumed, to {asked.until:.0%}. "
        f"For comparison {few} images.",
        "",
        "| run | ready after | resident when ready | at the last unit | growth at work, per 1000 images |",
        "|---|---|---|---|---|",
    ]
    for name, count in (("few", few), ("killed", images), ("resumed", images)):
        start, units = found[name]["start"], found[name]["units"]
        last = [one for one in units if "done" in one][-1]
        lines.append(
            f"| {count} images{'' if name == 'few' else ', ' + name} | {start['seconds']:.1f} s "
            f"({start['done']} of {start['of']} units done) | {start['megabytes']:.0f} MB "
            f"| {last['megabytes']:.0f} MB | {slope(units, count):+.2f} MB |"
        )
    closed = [one for one in found["resumed"]["units"] if one.get("closed")]
    lines += (
        ["", f"After closing (counts, exclusions, views looked at): {closed[0]['megabytes']:.0f} MB."]
        if closed
        else []
    )
    lines += ["", f"Machine: {found['machine']['cpu']}, load {found['machine']['load']:.1f}; "
              f"{found['minutes']:.0f} min in all.", ""]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
