"""Commands killed, doubled and cut off by a full disk; what is there after the same command again.

    python -m benchmarks.robustness.kills           # 104 kills, 21 pairs, 28 full disks: about 25 minutes

Signals come at seeded moments: before the n-th change of a file, counted by an audit hook, or after a
share of the command's time. Afterwards the command runs once more: what it leaves must equal an
uninterrupted run.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

from benchmarks.robustness import sandbox
from benchmarks.robustness.fuzz import RESULTS, Journal, prepared, sources
from benchmarks.robustness.sandbox import Ending
from benchmarks.robustness.tasks import Task, hidden, keys, meanings, tasks, visible

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
KILLS = {"explain": 26, "benchmark": 26, "forge": 16, "report": 12, "tune": 12, "summary": 12}
PAIRS = {"explain": 3, "benchmark": 6, "forge": 3, "report": 3, "tune": 3, "summary": 3}
FULL = dict.fromkeys(("explain", "benchmark", "forge", "report", "tune", "summary", "export"), 4)
SLOW = 120.0  # seconds that a command may take here, where others run beside it
PAGE = 4096  # bytes in which a small disk counts
WRITING = set("wax+")


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run of a task.

    Args:
        seconds: Wall time.
        changes: Files opened for writing, renamed and removed.
        size: Bytes of the results.
        meanings: Of its files.
        keys: Of its records or files.
    """

    seconds: float
    changes: int
    size: int
    meanings: dict
    keys: dict


def _arguments(task: Task, place: Path, folder: Path) -> list[str]:
    return task.arguments(place)


class Bench:
    """Where the tasks run.

    Args:
        base: Folder of everything.
        all_tasks: By name.
    """

    def __init__(self, base: Path, all_tasks: dict[str, Task]):
        self.base, self.tasks = base, all_tasks
        self._whole: dict[str, Whole] = {}

    def fresh(self, name: str, task: Task) -> Path:
        """An empty folder for results, with what the task needs in it."""
        place = self.base / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        task.prepare(place)
        return place

    def run(
        self, task: Task, place: Path, before: Callable[[], None] | None = None, signal_after=None
    ) -> Ending:
        """The task's command; `signal_after` as `sandbox.run` takes it."""
        folder = self.base / "case"
        shutil.rmtree(folder, ignore_errors=True)
        make = partial(_arguments, task, place)
        return sandbox.run(make, folder, limit=SLOW, before=before, signal_after=signal_after)

    def whole(self, name: str) -> Whole:
        """The uninterrupted run, once."""
        if name not in self._whole:
            task = self.tasks[name]
            place, counter = self.fresh("whole", task), self.base / "changes"
            ending = self.run(task, place, lambda: counting(place, lambda n: counter.write_text(str(n))))
            if ending.code:
                raise SystemExit(f"{name} ended with {ending.code}:\n{ending.output}")
            self._whole[name] = Whole(
                ending.seconds,
                int(counter.read_text()),
                sum(path.stat().st_size for path in visible(place)),
                meanings(place),
                keys(place),
            )
        return self._whole[name]


def counting(place: Path, tell: Callable[[int], object]) -> None:
    """Tell the number of each change of a file in the folder before it happens."""
    inside, count, busy = str(place), 0, False

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count, busy
        if busy or event not in ("open", "os.rename", "os.remove", "os.mkdir"):
            return
        if event == "open" and not WRITING & set(arguments[1] or ""):
            return
        if isinstance(arguments[0], str | os.PathLike) and os.fspath(arguments[0]).startswith(inside):
            busy = True
            count += 1
            try:
                tell(count)
            finally:
                busy = False

    sys.addaudithook(hook)


def _before_change(place: Path, at: int, sign: signal.Signals) -> None:
    counting(place, lambda number: os.kill(os.getpid(), sign) if number == at else None)


def kill(bench: Bench, name: str, rng: Random) -> dict:
    """One to two kills, then the command again."""
    moments: list[tuple[str, int | float]] = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        sign = rng.choice(SIGNALS).name
        by_change = rng.random() < 0.6
        moments.append((sign, rng.randrange(1, bench.whole(name).changes + 1) if by_change else rng.random()))
    return kill_at(bench, name, moments)


def kill_at(bench: Bench, name: str, moments: list[tuple[str, int | float]]) -> dict:
    """Kills at given moments, then the command again.

    Args:
        bench: Where it runs.
        name: Of the task.
        moments: Signal and moment: the number of a change of a file, or a share of the time.
    """
    task, whole = bench.tasks[name], bench.whole(name)
    place = bench.fresh("killed", task)
    said, codes, faults, left = [], [], [], 0
    for sign_name, moment in moments:
        sign = signal.Signals[sign_name]
        if isinstance(moment, int):
            ending = bench.run(task, place, partial(_before_change, place, moment, sign))
            said.append(f"{sign_name} before change {moment} of {whole.changes}")
        else:
            ending = bench.run(task, place, signal_after=(moment * whole.seconds, sign))
            said.append(f"{sign_name} after {moment:.2f} of the time")
        codes.append(ending.code)
        faults += _fault_of_code(ending, sign)
        faults += _half_written(place)
        left = max(left, len(hidden(place)))
    found = _resumed(bench, task, place, whole, faults)
    return found | {"moments": said, "codes": codes, "hidden_after": left}


def _told(ending: Ending) -> str:
    """What was wrong or said; the results lie outside the command's folder here, which is no fault."""
    return replace(ending, seen=[]).fault or ending.said


def _fault_of_code(ending: Ending, sign: signal.Signals) -> list[str]:
    if ending.hang:
        return ["hang"]
    allowed = {signal.SIGKILL: (-9, 0), signal.SIGTERM: (-15, 143, 0), signal.SIGINT: (130, 0)}[sign]
    return [] if ending.code in allowed else [f"{sign.name} ended with {ending.code}: {_told(ending)}"]


def _half_written(place: Path) -> list[str]:
    broken = [name for name, said in meanings(place).items() if str(said).startswith("broken")]
    return [f"half written: {name}" for name in broken]


def _resumed(bench: Bench, task: Task, place: Path, whole: Whole, faults: list[str]) -> dict:
    """The command once more; what differs from an uninterrupted run, what is left."""
    ending = bench.run(task, place)
    if ending.code:
        faults.append(f"the run after it ended with {ending.code}: {_told(ending)}")
    found, said = keys(place), meanings(place)
    lost = sum((whole.keys - found).values())  # pyrefly: ignore[unsupported-operation]
    doubled = sum((found - whole.keys).values())
    other = sorted(
        name for name in whole.meanings.keys() | said.keys() if whole.meanings.get(name) != said.get(name)
    )
    faults += [f"differs from an uninterrupted run: {name}" for name in other[:5]]
    if lost or doubled:
        faults.append(f"{lost} lost, {doubled} doubled")
    left = hidden(place)
    if left:
        faults.append(f"{len(left)} temporary files left after the next run")
    return {"faults": faults, "lost": lost, "doubled": doubled, "hidden_left": len(left)}


def pair(bench: Bench, name: str, rng: Random) -> dict:
    """Two processes on one folder at once, then one more."""
    task, whole = bench.tasks[name], bench.whole(name)
    place = bench.fresh("two", task)
    folders = [bench.base / "first", bench.base / "second"]
    delay, began, pids = rng.random() * 0.7 * whole.seconds, time.monotonic(), []
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        pids.append(sandbox.start(partial(_arguments, task, place), folder))
        if len(pids) == 1:
            time.sleep(delay)
    endings = [
        sandbox.ending(pid, folder, began, wait=True) for pid, folder in zip(pids, folders, strict=True)
    ]
    codes = [one.code for one in endings if one is not None]
    faults = [
        f"one of two ended with {one.code}: {_told(one)}"
        for one in endings
        if one is not None and one.code not in (0, 2)
    ]
    if 0 not in codes:
        faults.append("neither of two finished")
    faults += _half_written(place)
    return _resumed(bench, task, place, whole, faults) | {"moments": [f"{delay:.2f} s apart"], "codes": codes}


def full(bench: Bench, name: str, rng: Random) -> dict:
    """A disk that fills while the command writes; then room, and the command again."""
    task, whole = bench.tasks[name], bench.whole(name)
    disk = bench.base / "disk"
    place, share = disk / "results", rng.uniform(0.02, 0.9)
    disk.mkdir(exist_ok=True)
    _mount(disk, 64 << 20)
    try:
        place.mkdir()
        task.prepare(place)
        taken = sum(-(-path.stat().st_size // PAGE) for path in visible(place))
        (disk / "filler").write_bytes(bytes(PAGE))  # a disk of no size would be one without limit
        _mount(disk, PAGE * (taken + 1 + int(share * whole.size / PAGE)), "remount,")
        ending = bench.run(task, place)
        faults = [] if ending.code in (3, 4, 0) else [f"full disk ended with {ending.code}: {_told(ending)}"]
        faults += ["hang"] if ending.hang else []
        faults += _half_written(place)
        left = len(hidden(place))
        _mount(disk, 256 << 20, "remount,")
        found = _resumed(bench, task, place, whole, faults)
    finally:
        _system("umount", "-l", str(disk))
    moments = [f"room for {share:.2f} of the results"]
    return found | {"moments": moments, "codes": [ending.code], "hidden_after": left}


def _mount(place: Path, size: int, how: str = "") -> None:
    _system("mount", "-t", "tmpfs", "-o", f"{how}size={size}", "tmpfs", str(place))


def _system(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


def can_mount(base: Path) -> bool:
    """Whether this user may make small disks."""
    place = base / "mount"
    place.mkdir(exist_ok=True)
    try:
        _mount(place, 1 << 20)
        _system("umount", str(place))
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


TRIALS: dict[str, tuple[Callable[[Bench, str, Random], dict], dict[str, int]]] = {
    "kill": (kill, KILLS),
    "pair": (pair, PAIRS),
    "full": (full, FULL),
}


def planned(only: Iterable[str]) -> list[tuple[str, str, int]]:
    """Trial, task and number; the trials of a task together, since they share its uninterrupted run."""
    return [
        (trial, name, number)
        for trial in TRIALS
        if trial in only
        for name, count in TRIALS[trial][1].items()
        for number in range(count)
    ]


def one(bench: Bench, seed: int, trial: str, name: str, number: int) -> dict:
    """What came of one trial."""
    found = TRIALS[trial][0](bench, name, Random(f"{seed}:{trial}:{name}:{number}"))
    return {"kind": f"{trial}:{name}", "index": number, "fault": "; ".join(found["faults"]), **found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="TRIAL:TASK:NUMBER", help="one trial, shown in full")
    parser.add_argument("--trials", nargs="*", choices=list(TRIALS), default=list(TRIALS))
    parser.add_argument("--out", type=Path, default=RESULTS, help="journal")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs did")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="xai-kills-"))
    try:
        valid = prepared(base)
        bench = Bench(base / "bench", tasks(valid))
        bench.base.mkdir()
        if options.only:
            trial, name, number = options.only.split(":")
            print(json.dumps(one(bench, options.seed, trial, name, int(number)), indent=1, default=str))
            return
        trials = set(options.trials)
        if "full" in trials and not can_mount(base):
            trials.discard("full")
            print("Full disks are left out: mounting needs root.")
        journal = Journal(
            options.out / f"kills-{options.seed}.jsonl",
            {"seed": options.seed, "sources": sources()},
            options.fresh,
        )
        for trial, name, number in planned(trials):
            if (f"{trial}:{name}", number) in journal.done:
                continue
            found = one(bench, options.seed, trial, name, number)
            journal.write(found)
            print(f"{trial}:{name}:{number} {found['codes']} {found['fault'] or 'right'}", flush=True)
        faults = [found for found in journal.done.values() if found["fault"]]
        print(f"{len(journal.done)} trials, {len(faults)} failed.")
        raise SystemExit(1 if faults else 0)
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
