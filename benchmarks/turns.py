"""Two builds of the package by turns: an earlier one in an environment of its own beside this one.

A program that compares them is run by both interpreters. `make .venv-base/.installed` makes the earlier
build's environment. Such a program, say `benchmarks/drawing.py`, has this shape:

    def job(case):                              # in either build: one repetition, figures of your own or none
        ...

    if __name__ == "__main__":
        turns.serve({"one image": lambda: ...}) # only in the processes started by `by_turns`, else returns
        for case in cases:
            pairs = turns.by_turns(__file__, case, rounds=20)
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import processor, spread

BASE = "f14a8ae"  # commit of the earlier build, as in the Makefile
REPOSITORY = Path(__file__).resolve().parent.parent
BASE_PYTHON = REPOSITORY / ".venv-base/bin/python"
SERVE = "--serve-turns"

# Linux counts the size of the process that starts another as that other's peak: a small one has to start it
_WATCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
figures = {"peak_mb": usage.ru_maxrss / 1024}
cpu = usage.ru_utime + usage.ru_stime
print(json.dumps({"wall": time.perf_counter() - start, "cpu": cpu, "figures": figures}))
sys.exit(os.waitstatus_to_exitcode(status))
"""

Job = Callable[[], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Turn:
    """One repetition: seconds on the clock, of CPU (the process and what it waited for), other figures."""

    wall: float
    cpu: float
    figures: dict[str, Any]


@dataclass(frozen=True)
class Build:
    """An interpreter, and where its `xai` comes from."""

    name: str
    python: Path
    path: str | None = None  # PYTHONPATH; None: what the interpreter has installed

    def environment(self) -> dict[str, str]:
        """Variables of a process; a package in the folder that it is started in does not count."""
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return variables | {"PYTHONSAFEPATH": "1"} | ({} if self.path is None else {"PYTHONPATH": self.path})


def builds() -> tuple[Build, Build]:
    """The earlier build and this one.

    Raises:
        SystemExit: The earlier one is not installed.
    """
    if not BASE_PYTHON.exists():
        raise SystemExit("The earlier build is not installed: make .venv-base/.installed")
    return Build("base", BASE_PYTHON), Build("now", Path(sys.executable), str(REPOSITORY))


def serve(jobs: Mapping[str, Job]) -> None:
    """Run jobs as `by_turns` asks for them, and never return; return at once in any other process."""
    if SERVE not in sys.argv:
        return
    job = jobs[sys.argv[sys.argv.index(SERVE) + 1]]
    answers = os.dup(1)
    os.dup2(2, 1)  # what a job prints must not stand between the answers
    with os.fdopen(answers, "w") as channel:
        for _ in sys.stdin:
            wall, cpu = time.perf_counter(), _cpu_seconds()
            figures = dict(job() or {})
            turn = {"wall": time.perf_counter() - wall, "cpu": _cpu_seconds() - cpu, "figures": figures}
            channel.write(json.dumps(turn) + "\n")
            channel.flush()
    sys.exit()


def by_turns(
    program: str | Path, case: str, rounds: int, warm_up: int = 1, arguments: Sequence[str] = ()
) -> list[tuple[Turn, Turn]]:
    """Repetitions of a case in both builds, one after the other, each in a process that stays.

    Args:
        program: Its file; run with `arguments`, it calls `serve` before anything else.
        case: Key of the job.
        rounds: Pairs that count.
        warm_up: Pairs before them.
        arguments: Further ones for the program.

    Returns:
        (earlier build, this build) per round.
    """
    with ExitStack() as stack:
        processes = [stack.enter_context(_started(build, program, case, arguments)) for build in builds()]
        pairs = []
        for number in range(warm_up + rounds):
            first, second = (_ask(process) for process in processes)
            if number >= warm_up:
                pairs.append((first, second))
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
    return pairs


def command_turns(
    commands: Mapping[str, Sequence[str]], rounds: int, warm_up: int = 1
) -> list[tuple[Turn, Turn]]:
    """Whole processes by turns, for commands of the command line.

    Args:
        commands: Two of them under any names: what follows the interpreter, such as
            `("-m", "xai", "--help")`; the first is run by the earlier build, the second by this one.
        rounds: Pairs that count.
        warm_up: Pairs before them.

    Returns:
        (earlier build, this build) per round; figures hold `peak_mb`, the process's largest resident size.

    Raises:
        RuntimeError: A command failed.
    """
    pairs = []
    for number in range(warm_up + rounds):
        first, second = (
            run_command(build, arguments)
            for build, arguments in zip(builds(), commands.values(), strict=True)
        )
        if number >= warm_up:
            pairs.append((first, second))
    return pairs


def run_command(build: Build, arguments: Sequence[str]) -> Turn:
    """One process from its start to its end.

    Raises:
        RuntimeError: The command failed.
    """
    done = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "-I", "-S", "-c", _WATCHER, build.python, *arguments],
        env=build.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{build.name}: {' '.join(arguments)}: {done.stderr[-2000:]}")
    return Turn(**json.loads(done.stdout))


def ratios(pairs: Sequence[tuple[Turn, Turn]], key: str = "cpu") -> dict[str, float]:
    """How many times as fast this build is, pair by pair: `median`, 5th (`low`) and 95th percentile (`high`).

    Args:
        pairs: From `by_turns` or `command_turns`.
        key: "cpu", "wall", or the name of a figure.
    """
    return spread([value(first, key) / value(second, key) for first, second in pairs])


def value(turn: Turn, key: str) -> float:
    """Seconds of CPU or on the clock, or another figure."""
    return float(getattr(turn, key) if key in ("cpu", "wall") else turn.figures[key])


def medians(pairs: Sequence[tuple[Turn, Turn]], key: str = "cpu") -> tuple[float, float]:
    """Of the earlier build and of this one."""
    first, second = (spread([value(pair[place], key) for pair in pairs])["median"] for place in (0, 1))
    return first, second


def percentiles(found: Mapping[str, float], digits: int = 2) -> str:
    """`median (5th percentile–95th percentile)`, as documents quote it."""
    return f"{found['median']:.{digits}f} ({found['low']:.{digits}f}–{found['high']:.{digits}f})"


def publish(
    name: str, title: str, paragraphs: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[str]]
) -> Path:
    """Write `reports/speed/{name}.md`: the machine, what was done, and a table."""
    path = REPOSITORY / "reports/speed" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = [header, ["---"] * len(header), *rows]
    lines = [
        f"# {title}",
        "",
        f"CPU {processor()}, {os.cpu_count()} cores. Written by `benchmarks/{Path(sys.argv[0]).name}`.",
        "",
    ]
    for paragraph in paragraphs:
        lines += [paragraph, ""]
    lines += ["| " + " | ".join(row) + " |" for row in table]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """Options that all these programs share."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--rounds", type=int, default=rounds, help="repetitions by turns")
    return options


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _started(build: Build, program: str | Path, case: str, arguments: Sequence[str]) -> subprocess.Popen:
    return subprocess.Popen(  # noqa: S603 - our own programs
        [build.python, program, *arguments, SERVE, case],
        env=build.environment() | {"PYTHONSAFEPATH": ""},  # the program finds its neighbours
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ask(process: subprocess.Popen) -> Turn:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"{process.args} ended with {process.wait()}.")
    return Turn(**json.loads(answer))
