"""A benchmark from configuration to records, which goes on where it was stopped."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from xai.attention import evaluation_mode
from xai.bench.config.reading import read_benchmark
from xai.bench.config.schema import BenchmarkConfig
from xai.bench.data.files import Folder, RemotePath, names_in, only_writer, remove_folder, write_json
from xai.bench.data.parquet import arrow
from xai.bench.run.context import RunContext
from xai.bench.run.engines import Engine, FinishedItem, LocalEngine, RayOptions, ShardWork
from xai.bench.run.image_snapshots import snapshots_path
from xai.bench.run.plan import Plan, device_of, differences, make_plan
from xai.bench.run.precision import decide_precision
from xai.bench.run.ray_engine import RayEngine
from xai.bench.run.store import PLAN_FILE, Store, read_run
from xai.core import ConfigError, DataError, UsageError, nearest
from xai.core.files import check_writable
from xai.core.runtime import version_of
from xai.models import Classifier
from xai.models.provenance import provenance
from xai.stats import Exclusion


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Args:
        done: Work items that are done, those of earlier calls included.
        total: Work items.
        forwards: Forward passes of perturbed images in this call.
        rate: Of them, per second.
        seconds_left: Estimate; None before the first work item of this call.
        workers: How many are at work.
        failed: Work items given up in this call.
    """

    done: int
    total: int
    forwards: int
    rate: float
    seconds_left: float | None
    workers: int = 1
    failed: int = 0


@dataclass(frozen=True)
class RunResult:
    """What a call did.

    Args:
        folder: Of the run.
        work_items: How many the plan has.
        resumed: Work items that were done before this call.
        images: Of the data.
        records: In the folder.
        exclusions: What is missing, and why.
        forwards: Forward passes of perturbed images in this call.
        seconds: Of this call.
        failed: Work items given up, with the reason.
    """

    folder: Folder
    work_items: int
    resumed: int
    images: int
    records: int
    exclusions: tuple[Exclusion, ...]
    forwards: int
    seconds: float
    failed: tuple[FinishedItem, ...] = ()


@dataclass
class _Count:
    """What is done of a run."""

    total: int
    resumed: int = 0
    done: int = 0
    forwards: int = 0
    left: int = 0  # forward passes, where these are known
    planned: int = 0
    workers: int = 1
    failed: list[FinishedItem] = field(default_factory=list)
    start: float = field(default_factory=perf_counter)

    def add(self, one: FinishedItem) -> None:
        """Another work item came to its end."""
        self.workers = one.workers
        self.left -= one.item.forwards
        self.forwards += one.forwards
        if one.failure is None:
            self.done += 1
        else:
            self.failed.append(one)

    def progress(self) -> Progress:
        """How far it is."""
        elapsed = perf_counter() - self.start
        ended, failed = self.done + len(self.failed), len(self.failed)
        seconds = None
        if ended:
            rest, share = self.total - self.resumed - ended, self.planned - self.left
            seconds = elapsed * self.left / share if share else elapsed * rest / ended
        rate = self.forwards / elapsed if ended else 0.0
        done = self.resumed + self.done
        return Progress(done, self.total, self.forwards, rate, seconds, self.workers, failed)


def run_benchmark(
    config: BenchmarkConfig | str | Path,
    out: str | Folder,
    *,
    classifier: Classifier | None = None,
    progress: Callable[[Progress], None] | None = None,
    engine: str = "local",
    ray: RayOptions | None = None,
    trust_code: bool = False,
) -> RunResult:
    """Run a benchmark, or go on with one.

    Every finished work item is a file of its own, written at once: whenever the process ends, at most the
    item at hand is lost, and the same call goes on after it with the same result as if nothing had happened.

    Args:
        config: Checked configuration, or the YAML to read.
        out: Folder of the run, made if need be; a path, or a URL that fsspec knows.
        classifier: The model, if it is not to be loaded as the configuration says.
        progress: Called before the first work item and after each.
        engine: Who does the work, with the same records: "local", this process, or "ray", the workers of a
            Ray cluster.
        ray: See `RayOptions`; for the engine ray only.
        trust_code: Whether the `factory` of the model's YAML may run, and methods, metrics and operators be
            imported that are named as `package.module:Class`; no configuration can say so itself.

    Raises:
        UsageError: Another process writes the folder, an unknown engine, or a cluster without room.
        ConfigError: A wrong configuration, or one that differs from that of the run in the folder.
        DataError: No usable image, or the disk objects; finished work items are intact.
        ModelError: The model cannot be loaded or explained.
    """
    arrow()  # missing libraries are an error before the work, not after it
    config = config if isinstance(config, BenchmarkConfig) else read_benchmark(config, trust_code=trust_code)
    store = Store(out)
    if isinstance(store.folder, Path):
        check_writable(store.folder)
    begun = perf_counter()
    tell = progress or (lambda state: None)
    with engine_of(engine, ray) as at_work:
        context = RunContext(config, store.folder, classifier, plans=at_work.plans, trust_code=trust_code)
        context.import_code()
        config = decide_precision(context, store, at_work.tried)
        plan = make_plan(config, context.classifier, store.folder, at_work.each)
        context.source = plan.source
        with only_writer(store.folder):
            done = store.keys()
            count = _count(plan, done)
            run = _open(store, config, context, plan, engine, count)
            count.start = perf_counter()
            tell(count.progress())
            for one in at_work.run(context, store, _work(plan, done)):
                count.add(one)
                tell(count.progress())
            context.source = plan.source
            _complete_views(context, plan, store)
            exclusions, records = store.totals()
            _close(store, run, plan, exclusions, records, count)
    if not records:
        reasons = [one.reason for one in exclusions] + [str(one.failure) for one in count.failed]
        reasons.append(f"what {', '.join(config.metrics)} looks at is not known (a mask, clicks)")
        raise DataError(f"None of {len(plan.source)} images could be used: {reasons[0].removesuffix('.')}.")
    return RunResult(
        folder=store.folder,
        work_items=count.total,
        resumed=count.resumed,
        images=len(plan.source),
        records=records,
        exclusions=tuple(exclusions),
        forwards=count.forwards,
        seconds=perf_counter() - begun,
        failed=tuple(count.failed),
    )


def _work(plan: Plan, done: set[str]) -> Iterator[ShardWork]:
    """What is not done, shard by shard, each made when it is asked for."""
    size = plan.work_items.size
    for shard in range(plan.work_items.shards):
        items = tuple(item for item in plan.work_items.of(shard) if item.key not in done)
        if items:
            start = shard * size
            yield ShardWork(items, plan.source.window(start, min(start + size, len(plan.source))))


def _count(plan: Plan, done: set[str]) -> _Count:
    count = _Count(0)
    for item in plan.work_items:
        count.total += 1
        if item.key in done:
            count.resumed += 1
        else:
            count.planned += item.forwards
    count.left = count.planned
    return count


def _complete_views(context: RunContext, plan: Plan, store: Store) -> None:
    """Make the views that are missing, such as those of shards that an older version finished.

    Behind a URL those that are there are taken to be whole: they were put as a whole, and to read them
    all would take longer than to make them.
    """
    done, remote = store.keys(), isinstance(store.folder, RemotePath)
    there = set(names_in(store.folder / "views")) if remote else set()
    for shard in range(plan.work_items.shards):
        if remote and snapshots_path(store.folder, shard).name in there:
            continue
        if any(item.key in done for item in plan.work_items.of(shard)) and not context.has_snapshots(shard):
            with evaluation_mode(context.classifier):
                context.images(shard)


def _open(
    store: Store, config: BenchmarkConfig, context: RunContext, plan: Plan, engine: str, count: _Count
) -> dict[str, Any]:
    """Begin the run's file, or check that it is of the same run; note the session if it will measure."""
    sessions: list[dict[str, Any]] = []  # as JSON, those of earlier versions unchanged
    if store.run_file.exists():
        before = read_run(store.folder)
        changed = differences(before.identity, plan.identity)
        if changed and store.keys():
            raise ConfigError(
                f"{store.folder} holds a run with other settings. Changed: {'; '.join(changed)}.",
                "Choose another folder, or restore the settings; name, statistics, batch_size and device "
                "may change.",
            )
        sessions = [] if changed else [one.content for one in before.sessions]
        if changed:
            remove_folder(store.folder / "views")  # of the run that was begun with other settings
    elif store.keys():
        raise DataError(f"{store.folder} has parts of a run but no run.json.", "Choose another folder.")
    if not (sessions and (store.folder / PLAN_FILE).exists()):
        store.write_plan(plan.work_items)
    if count.resumed < count.total or not sessions:
        sessions = [*sessions, _session(config, context, engine)]
    content = _content(config, context, plan, sessions)
    write_json(store.run_file, content)
    return content


def _content(
    config: BenchmarkConfig, context: RunContext, plan: Plan, sessions: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What `run.json` says of a run, as JSON."""
    return {
        "schema": config.run_schema,
        "name": config.name,
        "config": config.model_dump(mode="json"),
        "identity": plan.identity,
        "protocols": [one.describe() | {"hash": one.hash} for one in context.protocols.values()],
        "methods": [
            {
                "name": configuration.name,
                "method": configuration.method,
                "options": dict(configuration.options),
                "control": configuration.control,
            }
            | {"hash": configuration.hash}
            | ({} if configuration.code is None else {"code": configuration.code})
            for configuration in context.configurations
        ],
        "plan": {"images": len(plan.source), "units": len(plan.work_items)},
        "sessions": list(sessions),
    }


def _session(config: BenchmarkConfig, context: RunContext, engine: str) -> dict[str, Any]:
    """What a call measures with, as JSON."""
    classifier = context.classifier
    session = {
        "start": _now(),
        "end": None,
        **provenance(classifier),
        "threads": torch.get_num_threads(),
        "model": classifier.describe(),
        "processor": f"PIL {version_of('pillow')}",
        "autocast": config.stream_dtype,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "engine": engine,
        **({"precision": dict(context.chosen)} if context.chosen else {}),
    }
    if context.plans:
        session["device"] = f"{device_of(config) or 'cpu'} of each worker"
    return session


def _now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _close(
    store: Store,
    run: dict[str, Any],
    plan: Plan,
    exclusions: Sequence[Exclusion],
    records: int,
    count: _Count,
) -> None:
    """Write how it ended."""
    last = run["sessions"][-1]
    if last["end"] is None:  # else this call measured nothing
        last |= {"end": _now()} | ({"forwards": count.forwards} if count.forwards else {})
    unused = {one.image for one in exclusions if one.method == one.protocol == "*"}
    run["result"] = {
        "images": len(plan.source),
        "used": len(plan.source) - len(unused),
        "records": records,
        "exclusions": len(exclusions),
        "failed": [{"unit": one.item.key, "reason": one.failure} for one in count.failed],
    }
    write_json(store.run_file, run)


def engine_of(name: str, options: RayOptions | None) -> Engine:
    """The engine of a name.

    Raises:
        UsageError: There is none, or options are given to one that takes none.
    """
    engines: dict[str, Callable[[], Engine]] = {
        "local": LocalEngine,
        "ray": lambda: RayEngine(options or RayOptions()),
    }
    if name not in engines:
        raise UsageError(f"Unknown engine {name!r}.", nearest(name, engines))
    if name != "ray" and options is not None:
        raise UsageError(f"Options of Ray were given to the engine {name!r}.", "Say --engine ray.")
    return engines[name]()
