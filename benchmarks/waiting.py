"""How torch's threads wait: whole commands with the short spin of `xai`, and with OpenMP's own, by turns.

    python benchmarks/waiting.py             # about six minutes on two quiet cores
    python benchmarks/waiting.py --rounds 1 --images 8

Whole commands on the shipped detector, on a quiet machine and while one core is kept busy by another program.
Writes `reports/speed/waiting.md`.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from unittest import mock

import turns
from explain_images import write_images
from measure import spread

from xai.core.runtime import _WAITING

BUSY = "while True: pass"
RUN = """
name: small
model: demo
data: {forgeries: {photos: shipped, count: 6, kinds: [upsampling, noise], seed: 0}}
methods: [gradient_weighted_attention, chefer, integrated_mask_gradient]
controls: {random_seeds: 3, greedy_images: 0}
protocols:
  - {base: vit-token, name: token-6, steps: 6, target: label}
  - {base: vit-mean, name: mean-3, steps: 3, target: label}
metrics: [srg, deletion, insertion]
"""


def commands(folder: Path, images: int) -> dict[str, Sequence[str]]:
    """What is run, by what the table calls it; all write into `folder / "out"`."""
    photos, config, out = write_images(folder / "images", images), folder / "run.yaml", str(folder / "out")
    config.write_text(RUN, encoding="utf-8")
    explain = ("-m", "xai", "explain", str(photos), "--out", out)
    return {
        f"`xai explain` of {images} images": explain,
        "the same with `--pictures none`": (*explain, "--pictures", "none"),
        "`xai benchmark run` of 12 images, 3 methods": (
            "-m",
            "xai",
            "benchmark",
            "run",
            str(config),
            "--out",
            out,
        ),
    }


@contextmanager
def one_core_busy(wanted: bool) -> Iterator[None]:
    """Inside the block another program keeps one core busy."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", BUSY])  # noqa: S603 - our own program
    try:
        yield
    finally:
        process.kill()
        process.wait()


def seconds(arguments: Sequence[str], out: Path, spinning: bool) -> turns.Turn:
    """One command from its start to its end; `spinning`: as OpenMP does by itself."""
    _, now = turns.builds()
    rmtree(out, ignore_errors=True)
    with mock.patch.dict(os.environ):
        for name in _WAITING:
            os.environ.pop(name, None)
        if spinning:
            os.environ["GOMP_SPINCOUNT"] = "300000"  # what it takes where nothing is said
        return turns.run_command(replace(now, name="spinning" if spinning else "now"), arguments)


def main() -> None:
    options = turns.parser(str(__doc__).splitlines()[0], rounds=3)
    options.add_argument("--images", type=int, default=24)
    asked = options.parse_args()
    rows = []
    with TemporaryDirectory() as place:
        folder = Path(place)
        for name, arguments in commands(folder, asked.images).items():
            for busy in (False, True):
                with one_core_busy(busy):
                    pairs = [
                        (seconds(arguments, folder / "out", True), seconds(arguments, folder / "out", False))
                        for _ in range(asked.rounds)
                    ]
                cells = [name, "one core busy" if busy else "quiet"]
                for key in ("wall", "cpu"):
                    before, after = turns.medians(pairs, key)
                    ratio = turns.percentiles(
                        spread([turns.value(a, key) / turns.value(b, key) for a, b in pairs])
                    )
                    cells += [f"{before:.1f} s", f"{after:.1f} s", ratio]
                rows.append(cells)
                print(" | ".join(cells), flush=True)
    turns.publish(
        "waiting",
        "Threads that wait for each other",
        [
            "Whole commands with their start-up on the shipped detector, default threads, with OpenMP's own "
            "spin (300 000 rounds, milliseconds) and with the 5000 rounds that the command `xai` asks for, "
            f"by turns, rounds: {asked.rounds}; ratios are medians with the 5th and 95th percentile. Busy: "
            "another program computes without end. `xai explain` draws pictures beside the model.",
            f"Load of the machine at the end: {os.getloadavg()[2]:.1f} over 15 minutes.",
        ],
        ["command", "machine", "spinning, clock", "now", "ratio", "spinning, CPU", "now", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
