"""How long the command takes to start: whole processes by turns, in an earlier build and in this one.

    python benchmarks/start_up.py

Three things are measured: `xai explain` of one image and `xai --help` against the earlier build; the
former against what no build can do without, a bare `import torch` and the explanation itself, timed as the
second call in one process; and which modules it imports. Takes about two minutes.
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import turns
from measure import spread

PICTURE = turns.REPOSITORY / "xai/data/samples/cat_fake.png"
MOST, HELP = 1.5, 0.5  # times the least that is possible; seconds
# of what transformers, Captum, a benchmark or a page need, and an explanation does not
NEEDLESS = (
    "transformers", "tokenizers", "scipy", "pandas", "pyarrow", "vl_convert", "ray", "matplotlib.pyplot",
    "sympy", "torch._dynamo", "jinja2", "rich.markdown",
)  # fmt: skip
HEADER = ("", "earlier build", "this one", "ratio, median (5th–95th percentile)", "target")

# the command, then what it had imported
_MODULES = """
import sys
from xai.cli.main import main
out, sys.argv = sys.argv[1], ["xai", *sys.argv[2:]]
try:
    main()
except SystemExit:
    open(out, "w").write("\\n".join(sys.modules))
"""
# CPU seconds of the command in a process that has run it before
_AGAIN = """
import resource, sys
from xai.cli.main import main
out, sys.argv = sys.argv[1], ["xai", *sys.argv[2:]]
def run():
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
first = run()
open(out, "w").write(str(run() - first))
"""


def main() -> None:
    """Measure, print and publish."""
    rounds = turns.parser(str(__doc__).splitlines()[0], rounds=5).parse_args().rounds
    os.environ["OMP_NUM_THREADS"] = "1"  # CPU seconds of threads that wait for each other say nothing
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # what pip installed is compiled, so this build may be too
    with tempfile.TemporaryDirectory() as folder:
        explain = ("explain", str(PICTURE), "--out", folder)
        helped = against_base(("-m", "xai", "--help"), "`xai --help`", rounds)
        explained = against_base(("-m", "xai", *explain), "`xai explain` of one image", rounds)
        floor = against_floor(explain, folder, rounds)
        loaded = [imported(build, explain, folder) for build in turns.builds()]
    found = [", ".join(sorted(set(NEEDLESS) & modules)) or "none" for modules in loaded]
    rows = [
        *explained,
        ("its CPU by its floor's", "", *floor),
        ("modules it imports", *(str(len(modules)) for modules in loaded), "", ""),
        ("of them needless", *found, "", f"none: {'met' if found[1] == 'none' else 'missed'}"),
        *helped,
    ]
    paragraphs = (
        f"Whole processes by turns in one run, {rounds} rounds after one that does not count, files in the "
        "page cache, byte code written, one thread. CPU seconds are those of the process. Explained is one "
        "picture of 512 × 512 pixels, with the shipped detector and its default method.",
        'The floor of a call is the CPU time of `python -c "import torch"` plus that of the second '
        "`xai explain` of the same process: loading the detector, maps, drawing, saving. What lies above it "
        "are all other imports, and what torch sets up in a first pass.",
        f"Needless are {', '.join(NEEDLESS)}.",
        "Left as it is: PyYAML (0.08 s, its regular expressions), pydantic (0.05 s) and the package's own "
        "modules (0.2 s, most of it data classes and type hints of methods). Importing methods when they are "
        "asked for by name would save a third of that, and make the registry a list that is kept by hand.",
    )
    print(turns.publish("start_up", "How long the command takes to start", paragraphs, HEADER, rows))


def against_base(command: Sequence[str], name: str, rounds: int) -> list[tuple[str, ...]]:
    """Rows of CPU time, time on the clock and memory of a command in both builds."""
    pairs = turns.command_turns({"base": command, "now": command}, rounds)
    rows = []
    for key, unit, what in (("cpu", "s", "CPU"), ("wall", "s", "clock"), ("peak_mb", "MB", "peak memory")):
        first, second = turns.medians(pairs, key)
        digits = 0 if key == "peak_mb" else 2
        target = ""
        if "--help" in command and key == "cpu":
            target = f"< {HELP} s: {'met' if second < HELP else 'missed'}"
        rows.append((
            f"{name}, {what}", f"{first:.{digits}f} {unit}", f"{second:.{digits}f} {unit}",
            turns.percentiles(turns.ratios(pairs, key)), target,
        ))  # fmt: skip
    return rows


def against_floor(explain: Sequence[str], folder: str, rounds: int) -> tuple[str, str, str]:
    """CPU seconds of the command, of its floor, their ratio, and whether the target is met."""
    _, now = turns.builds()
    shares, sums = [], []
    for number in range(1 + rounds):
        whole = turns.run_command(now, ("-m", "xai", *explain)).cpu
        torch = turns.run_command(now, ("-c", "import torch")).cpu
        again = float(_told(now, _AGAIN, explain, folder))
        if number:
            shares.append(whole / (torch + again))
            sums.append((whole, torch, again))
    whole, torch, again = (spread(column)["median"] for column in zip(*sums, strict=True))
    ratio = spread(shares)
    return (
        f"{whole:.2f} s of CPU; torch {torch:.2f} + explaining {again:.2f}",
        turns.percentiles(ratio),
        f"≤ {MOST}: {'met' if ratio['median'] <= MOST else 'missed'}",
    )


def imported(build: turns.Build, explain: Sequence[str], folder: str) -> set[str]:
    """Names of all modules that a build has imported when the command ends."""
    return set(_told(build, _MODULES, explain, folder).split())


def _told(build: turns.Build, code: str, explain: Sequence[str], folder: str) -> str:
    """What a program writes into the file that it is given before the command's arguments."""
    told = Path(folder) / "told.txt"
    subprocess.run(  # noqa: S603 - our own programs
        [build.python, "-c", code, str(told), *explain],
        env=build.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return told.read_text("utf-8")


if __name__ == "__main__":
    main()
