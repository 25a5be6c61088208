"""One row: ours and a peer's on the same weights, images and targets, timed by turns; memory apart.

A row is measured in three processes: seconds of both, peak memory of ours, peak memory of theirs.
"""

import importlib.metadata
import statistics
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.measure import failure, in_fresh_process, limit_memory, peak_memory, spread, timed

Call = Callable[[], Any]
SIDES = ("ours", "theirs")


@dataclass(frozen=True)
class Trial:
    """What a row times.

    Args:
        ours: One call; everything that is made once is made before.
        theirs: The same by the peer, on the same inputs.
        forward: Plain inference of the same images.
        units: Of `forward` that the task needs at the least: × forward is seconds ÷ (units × forward).
        agreement: Figures that compare the two results.
        count: Images that passed the model since it was last asked, for tasks that differ in them.
        pieces: Images, or images × maps, that one call treats.
    """

    ours: Call
    theirs: Call
    forward: Call
    agreement: Callable[[Any, Any], dict[str, float]]
    units: float = 1.0
    count: Callable[[], int] | None = None
    pieces: int = 1


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Args:
        task: What is computed.
        peer: By what it is compared, in words.
        package: The peer's distribution, None for a script of this benchmark.
        make: Job → trial, with models and inputs made.
        note: Known deviation of the peer, or of how it is used.
        slow: Memory is taken in the first call, without one to warm up.
        settings: What the row asks of its job, e.g. a batch of one image for a peer that takes no more.
    """

    task: str
    peer: str
    package: str | None
    make: Callable[[dict], Trial]
    note: str = ""
    slow: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.task} | {self.peer}"


def measure_row(rows: Mapping[str, Row], job: dict) -> dict:
    """One part of a row, in the process that it has to itself: `time`, or the memory of a side."""
    warnings.filterwarnings("ignore")  # the peers' own
    torch.set_num_threads(job["threads"])
    device = torch.device(job["device"])
    if device.type == "cpu":
        limit_memory()
    row = rows[job["row"]]
    trial = row.make(job)
    if job["part"] == "time":
        return clocked(trial, job, device)
    trial.forward()
    call = getattr(trial, job["part"])
    if not (row.slow or job.get("slow")):
        call()
    return {"peak_mb": peak_memory(call, device)}


def clocked(trial: Trial, job: dict, device: torch.device) -> dict:
    """Seconds by turns, how they compare, and whether the results agree."""
    calls: dict[str, Call] = {"forward": trial.forward, "ours": trial.ours, "theirs": trial.theirs}
    found: dict[str, Any] = {}
    results: dict[str, Any] = {}
    warm = {}
    for side, call in list(calls.items()):
        if trial.count:
            trial.count()
        try:
            warm[side] = timed(lambda side=side, call=call: results.update({side: call()}), device)
        except Exception as error:
            if side != "theirs":
                raise
            found["error_theirs"] = failure(error)
            del calls[side]
            continue
        if trial.count:
            found[f"images_{side}"] = trial.count()
    if "theirs" in results:
        found["agreement"] = trial.agreement(results["ours"], results["theirs"])
    results.clear()
    # never the first call alone: at 4097 tokens it takes twice as long as the next
    rounds = max(1, min(job["pairs"], int(job["budget"] / sum(warm.values()))))
    seconds: dict[str, list[float]] = {side: [] for side in calls}
    for turn in range(rounds):
        for side in list(calls)[:: 1 if turn % 2 else -1]:
            seconds[side].append(timed(calls[side], device))
    found |= {"rounds": rounds, "pieces": trial.pieces}
    return {**found, **compared(seconds, trial.units, trial.pieces)}


def compared(seconds: Mapping[str, list[float]], units: float, pieces: int) -> dict:
    """Medians of ratios, round by round.

    Args:
        seconds: Of `forward`, `ours` and, if it ran, `theirs`; one value per round.
        units: See `Trial`.
        pieces: See `Trial`.
    """
    found: dict[str, Any] = {"forward_seconds": statistics.median(seconds["forward"])}
    for side in SIDES:
        if side in seconds:
            found[side] = {
                "seconds": statistics.median(seconds[side]) / pieces,
                "forwards": spread(
                    [s / f / units for s, f in zip(seconds[side], seconds["forward"], strict=True)]
                ),
            }
    if "theirs" in seconds:
        pairs = zip(seconds["theirs"], seconds["ours"], strict=True)
        found["ratio"] = spread([theirs / ours for theirs, ours in pairs])
    return found


def run_row(measure: Callable[[dict], dict], row: Row, job: dict, limit: int) -> dict:
    """All parts of a row, each in a process of its own (all in this one where it is to be quick)."""

    def part(name: str) -> dict:
        task = {**job, "part": name}
        return measure(task) if job["quick"] else in_fresh_process(measure, task, limit)

    result = {
        **job,
        "task": row.task,
        "peer": row.peer,
        "package": row.package,
        "version": version(row.package),
        "note": row.note,
    }
    if row.package and result["version"] is None:
        return {**result, "error_theirs": "not installed"}
    clock = part("time")
    result |= {key: value for key, value in clock.items() if key not in (*job, "part")}
    for side in SIDES:
        if side in result:
            memory = part(side)
            result[side] |= {key: memory[key] for key in ("peak_mb", "error") if key in memory}
    return result


def version(package: str | None) -> str | None:
    """Of an installed distribution, None where there is none."""
    try:
        return importlib.metadata.version(package) if package else None
    except importlib.metadata.PackageNotFoundError:
        return None
