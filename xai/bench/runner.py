"""A benchmark from configuration to records, which goes on where it was stopped."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from time import perf_counter
from typing import Any

from xai.bench.config import BenchmarkConfig
from xai.bench.context import Context
from xai.bench.files import only_writer, read_json, write_json
from xai.bench.plan import Plan, Unit, describe_plan, differences, make_plan
from xai.bench.prepared import Exclusion
from xai.bench.provenance import SCHEMA, now, provenance
from xai.bench.reading import read_benchmark
from xai.bench.store import Outcome, Store, arrow
from xai.bench.unit import run_unit
from xai.core import ConfigError, DataError, UsageError, nearest
from xai.models import Classifier
from xai.perturb.stream import evaluation_mode


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Args:
        done: Units that are done, those of earlier calls included.
        total: Units.
        forwards: Forward passes of perturbed images in this call.
        rate: Of them, per second.
        seconds_left: Estimate; None before the first unit of this call.
        unit: The unit that is next, None at the end.
    """

    done: int
    total: int
    forwards: int
    rate: float
    seconds_left: float | None
    unit: Unit | None


@dataclass(frozen=True)
class RunResult:
    """What a call did.

    Args:
        folder: Of the run.
        units: Units of the plan.
        resumed: Units that were done before this call.
        images: Of the data.
        records: In the folder.
        exclusions: What is missing, and why.
        forwards: Forward passes of perturbed images in this call.
        seconds: Of this call.
    """

    folder: Path
    units: int
    resumed: int
    images: int
    records: int
    exclusions: tuple[Exclusion, ...]
    forwards: int
    seconds: float


Engine = Callable[[Context, list[Unit]], Iterator[tuple[Unit, Outcome]]]


def _local(context: Context, units: list[Unit]) -> Iterator[tuple[Unit, Outcome]]:
    """One unit after the other, in this process."""
    for unit in units:
        yield unit, run_unit(context, unit)


ENGINES: dict[str, Engine] = {"local": _local}


def run_benchmark(
    config: BenchmarkConfig | str | Path,
    out: str | Path,
    *,
    classifier: Classifier | None = None,
    progress: Callable[[Progress], None] | None = None,
    engine: str = "local",
) -> RunResult:
    """Run a benchmark, or go on with one.

    Every finished unit is a file of its own, written at once: whenever the process ends, at most the unit in
    work is lost, and the same call goes on after it with the same result as if nothing had happened.

    Args:
        config: Checked configuration, or the YAML to read.
        out: Folder of the run, made if need be.
        classifier: The model, if it is not to be loaded as the configuration says.
        progress: Called before the first unit and after each.
        engine: How units are worked off.

    Raises:
        UsageError: Another process writes the folder, or an unknown engine.
        ConfigError: A wrong configuration, or one that differs from that of the run in the folder.
        DataError: No usable image, or the disk objects; finished units are intact.
        ModelError: The model cannot be loaded or explained.
    """
    if engine not in ENGINES:
        raise UsageError(f"Unknown engine {engine!r}.", nearest(engine, ENGINES))
    arrow()  # missing libraries are an error before the work, not after it
    config = config if isinstance(config, BenchmarkConfig) else read_benchmark(config)
    store = Store(out)
    begun = perf_counter()
    context = Context(config, Path(out), classifier)
    plan = make_plan(config, context.classifier)
    with only_writer(store.folder):
        run = _open(store, config, context, plan)
        left = [unit for unit in plan.units if not store.has(unit.key)]
        resumed, forwards, work = len(plan.units) - len(left), 0, list(left)
        tell = progress or (lambda state: None)
        tell(Progress(resumed, len(plan.units), 0, 0.0, None, left[0] if left else None))
        start = perf_counter()
        for unit, outcome in ENGINES[engine](context, work):
            store.write(unit.key, outcome)
            left.remove(unit)
            forwards += outcome.forwards
            elapsed = perf_counter() - start
            tell(
                Progress(
                    done=len(plan.units) - len(left),
                    total=len(plan.units),
                    forwards=forwards,
                    rate=forwards / elapsed,
                    seconds_left=_left(work, left, elapsed),
                    unit=left[0] if left else None,
                )
            )
        _complete_views(context, plan)
        exclusions, records = store.exclusions(), store.table(["image"]).num_rows
        _close(store, run, context, plan, exclusions, records, forwards)
    if not records:
        reason = exclusions[0].reason if exclusions else "there are none"
        raise DataError(f"None of {len(plan.entries)} images could be used: {reason}.")
    return RunResult(
        folder=store.folder,
        units=len(plan.units),
        resumed=resumed,
        images=len(plan.entries),
        records=records,
        exclusions=tuple(exclusions),
        forwards=forwards,
        seconds=perf_counter() - begun,
    )


def _complete_views(context: Context, plan: Plan) -> None:
    """Make the views that are missing, such as those of shards that an older version finished."""
    for shard in sorted({unit.shard for unit in plan.units}):
        if not context.has_views(shard):
            with evaluation_mode(context.classifier):
                context.images(shard)


def _left(work: list[Unit], left: list[Unit], elapsed: float) -> float:
    """Seconds that the units left will take, by their forward passes where these are known."""
    planned, more = (sum(unit.forwards for unit in units) for units in (work, left))
    if planned > more:
        return elapsed * more / (planned - more)
    return elapsed * len(left) / (len(work) - len(left))


def _open(store: Store, config: BenchmarkConfig, context: Context, plan: Plan) -> dict[str, Any]:
    """Begin the run's file, or check that it is of the same run and note the new session."""
    sessions: list[dict[str, Any]] = []
    if store.run_file.exists():
        before = read_json(store.run_file)
        changed = differences(before.get("identity", {}), plan.identity)
        if changed and store.parts():
            raise ConfigError(
                f"{store.folder} holds a run with other settings. Changed: {'; '.join(changed)}.",
                "Choose another folder, or restore the settings; name, statistics, batch_size and device "
                "may change.",
            )
        sessions = [] if changed else before.get("sessions", [])
        if changed:
            rmtree(
                store.folder / "views", ignore_errors=True
            )  # of the run that was begun with other settings
    elif store.parts():
        raise DataError(f"{store.folder} has parts of a run but no run.json.", "Choose another folder.")
    session = {"start": now(), "end": None, **provenance(config, context.classifier)}
    content = {
        "schema": SCHEMA,
        "name": config.name,
        "config": config.model_dump(mode="json"),
        "identity": plan.identity,
        "protocols": [one.describe() | {"hash": one.hash} for one in context.protocols.values()],
        "methods": [
            {"name": row.name, "method": row.method, "options": dict(row.options), "control": row.control}
            | {"hash": row.hash}
            for row in context.rows
        ],
        "plan": describe_plan(plan),
        "sessions": [*sessions, session],
    }
    write_json(store.run_file, content)
    return content


def _close(
    store: Store,
    run: dict[str, Any],
    context: Context,
    plan: Plan,
    exclusions: list[Exclusion],
    records: int,
    forwards: int,
) -> None:
    """Write how it ended."""
    run["sessions"][-1] |= {"end": now(), "forwards": forwards}
    unused = {one.image for one in exclusions if one.method == one.protocol == "*"}
    run["result"] = {
        "images": len(plan.entries),
        "used": len(plan.entries) - len(unused),
        "records": records,
        "exclusions": len(exclusions),
    }
    write_json(store.run_file, run)
