"""Shards as tasks of a Ray cluster: a bounded number in flight, lost workers replaced, shards retried."""

import importlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import inf
from time import monotonic, sleep
from typing import Any, TypeVar

from xai.bench.run.context import RunContext
from xai.bench.run.engines import FinishedItem, RayOptions, ShardWork
from xai.bench.run.plan import device_of
from xai.bench.run.ray_worker import Expected, Worker, WorkerReport, result_or_error
from xai.bench.run.store import Store
from xai.core import ModelError, UsageError
from xai.core.runtime import decisive

TICK = 2.0  # seconds after which the size of the cluster is looked at again
STARTS = 3  # workers that die one after the other before any is ready: something is wrong with all of them
OBJECT_STORE = 200_000_000  # bytes of shared memory of a cluster started here: what is sent is small

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class _Task:
    """A shard on its way, and how often a worker died over it."""

    work: ShardWork
    deaths: int = 0


class RayEngine:
    """Works shards off on the actors of a Ray cluster.

    Args:
        options: See `RayOptions`.
    """

    plans = True

    def __init__(self, options: RayOptions):
        self._options = options
        self._ray = _ray(options)
        self._connected = ExitStack()

    def __enter__(self) -> "RayEngine":
        self._connected.enter_context(_cluster(self._ray, self._options))
        return self

    def __exit__(self, *error: object) -> None:
        self._connected.close()

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """On all CPUs of the cluster; a task whose machine is lost is done again by Ray."""
        task = self._ray.remote(result_or_error).options(num_cpus=1)
        most = 2 * max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        under_way: dict[Any, int] = {}
        found: dict[int, Any] = {}
        for place, item in enumerate(items):
            under_way[task.remote(function, item)] = place
            if len(under_way) >= most:
                self._collect(under_way, found)
        while under_way:
            self._collect(under_way, found)
        return [found[place] for place in range(len(items))]

    def _collect(self, under_way: dict[Any, int], found: dict[int, Any]) -> None:
        (promise,), _ = self._ray.wait(list(under_way), num_returns=1)
        try:
            value, error = self._ray.get(promise)
        except self._ray.exceptions.RayError as lost:
            raise ModelError(f"What is in the data could not be looked at: {_death(lost)}.") from None
        if error is not None:
            raise error
        found[under_way.pop(promise)] = value

    def run(self, context: RunContext, store: Store, work: Iterable[ShardWork]) -> Iterator[FinishedItem]:
        """Work everything off.

        Yields:
            Every work item once: with its part written, or with the reason why it was given up.

        Raises:
            UsageError: The cluster has no room for a worker.
            ModelError: No worker can be started.
            XaiError: What a work item raises that would end a local run too.
        """
        pool = _Pool(self._ray, context, self._options)
        try:
            yield from _run(pool, store, work, self._options.retries)
        finally:
            pool.close()


def _run(pool: "_Pool", store: Store, work: Iterable[ShardWork], retries: int) -> Iterator[FinishedItem]:
    """Give shards to idle workers until none is left; as many wait at most as there shall be workers."""
    fresh, queue, more = iter(work), deque[_Task](), True
    while True:
        while more and len(queue) < pool.wanted:
            one = next(fresh, None)
            if one is None:
                more = False
            else:
                queue.append(_Task(one))
        while pool.idle and queue:
            pool.give(queue.popleft())
        if not (more or queue or pool.busy):
            return
        pool.start(len(queue))
        for task, report, first in pool.ended():
            if first and report.done:
                _check_shared(store, report.done[0])
            ended = list(report.done)
            if report.crash is not None:
                ended += _retry(task, report, store, queue, retries)
            yield from (replace(one, workers=pool.size) for one in ended)
            if report.error is not None:
                raise report.error


def _check_shared(store: Store, done: FinishedItem) -> None:
    """See what a worker wrote: on a disk of its own it would be lost."""
    if not store.has(done.item.key):
        raise UsageError(
            f"A worker wrote a part to {store.folder}, and it is not there on this machine.",
            "Give --out a folder that all machines share, or a URL.",
        )


def _retry(
    task: _Task, report: WorkerReport, store: Store, queue: deque[_Task], retries: int
) -> Iterator[FinishedItem]:
    """Put what is left of a shard back, or give it up."""
    reported = {one.item.key for one in report.done}
    written = [item for item in task.work.work_items if item.key not in reported and store.has(item.key)]
    yield from map(FinishedItem, written)  # by a worker that died before it could say so
    left = tuple(item for item in task.work.work_items if item.key not in reported and item not in written)
    if not left:
        return
    deaths, reason = task.deaths + 1, str(report.crash)
    if deaths > retries:
        yield from (
            FinishedItem(item, failure=f"given up after {deaths} attempts: {reason}") for item in left
        )
    else:
        queue.append(_Task(replace(task.work, work_items=left), deaths))


class _Pool:
    """The workers that there are; each has one shard at most, so as many are in flight as there are workers.

    Args:
        ray: The module.
        context: Sent to every worker.
        options: See `RayOptions`.
    """

    def __init__(self, ray: Any, context: RunContext, options: RayOptions):
        self._ray, self._options = ray, options
        gpus = _gpus(context) if options.gpus is None else options.gpus
        self._resources = {"CPU": options.cpus, "GPU": gpus}
        self._actor = ray.remote(Worker).options(
            num_cpus=options.cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0
        )
        expected = Expected(decisive(), context.classifier.fingerprint)
        sent = replace(context, plans=False)
        self._arguments = ray.put(sent), ray.put(expected), max(1, round(options.cpus))
        self._starting: dict[Any, Any] = {}  # promise → actor
        self._working: dict[Any, tuple[Any, _Task]] = {}
        self.idle: list[Any] = []
        self._new: set[Any] = set()  # workers that have not reported yet
        self._broken = 0  # starts that failed since one succeeded
        self._looked, self._room = -inf, 0
        if not self.wanted:
            raise UsageError(
                f"The cluster has no room for a worker, which needs {_listed(self._resources)}: "
                f"it has {_listed(ray.cluster_resources())}.",
                "Add machines, or ask for so many workers (--ray-workers) and wait until they join.",
            )

    @property
    def size(self) -> int:
        """Workers that are ready."""
        return len(self.idle) + len(self._working)

    @property
    def busy(self) -> bool:
        """Whether any worker has a shard."""
        return bool(self._working)

    @property
    def wanted(self) -> int:
        """As many workers as were asked for, or as the cluster has room for now."""
        if self._options.workers is not None:
            return self._options.workers
        if monotonic() - self._looked > TICK:
            there = self._ray.cluster_resources()
            room = (there.get(name, 0) // each for name, each in self._resources.items() if each)
            self._looked, self._room = monotonic(), int(min(room))
        return self._room

    def start(self, waiting: int) -> None:
        """Start workers for shards that wait, where there is room."""
        for _ in range(min(waiting, self.wanted - self.size) - len(self._starting)):
            actor = self._actor.remote(*self._arguments)
            self._starting[actor.ready.remote()] = actor

    def give(self, task: _Task) -> None:
        """Let an idle worker work a shard off."""
        actor = self.idle.pop()
        self._working[actor.work.remote(task.work)] = actor, task

    def ended(self) -> list[tuple[_Task, WorkerReport, bool]]:
        """Wait a while; the shards that came to an end, and whether each was its worker's first."""
        waiting = [*self._starting, *self._working]
        if not waiting:  # the cluster lost its last machine; others may join
            sleep(TICK)
            return []
        found, _ = self._ray.wait(waiting, num_returns=1, timeout=TICK)
        ended = []
        for promise in found:
            if promise in self._starting:
                self._started(self._starting.pop(promise), self._report(promise))
                continue
            actor, task = self._working.pop(promise)
            report = self._report(promise)
            if report.crash is None:
                self.idle.append(actor)
            else:
                self._ray.kill(actor)
            ended.append((task, report, actor in self._new))
            self._new.discard(actor)
        return ended

    def close(self) -> None:
        """End all workers."""
        for actor in [*self.idle, *self._starting.values(), *(one for one, _ in self._working.values())]:
            self._ray.kill(actor)

    def _started(self, actor: Any, report: WorkerReport) -> None:
        if report.error is not None:
            raise report.error
        if report.crash is None:
            self._broken = 0
            self._new.add(actor)
            self.idle.append(actor)
            return
        self._ray.kill(actor)
        self._broken += 1
        if self._broken >= STARTS:
            raise ModelError(f"{STARTS} workers in a row died before they were ready: {report.crash}")

    def _report(self, promise: Any) -> WorkerReport:
        try:
            return self._ray.get(promise)
        except self._ray.exceptions.RayError as error:
            return WorkerReport(crash=_death(error))


def _gpus(context: RunContext) -> float:
    """One for a model that the configuration puts on a GPU."""
    kind, _, number = (device_of(context.config) or "cpu").partition(":")
    if number:
        raise UsageError(
            f"device: {kind}:{number} names one device of one machine; each worker has its own.",
            f"Say device: {kind}.",
        )
    return 1.0 if kind == "cuda" else 0.0


def _death(error: Exception) -> str:
    """The first sentence of what Ray says of a lost worker."""
    text = " ".join(str(error).split())
    return f"its worker was lost ({type(error).__name__}: {text[:300]})"


def _listed(resources: Any) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))


@contextmanager
def _cluster(ray: Any, options: RayOptions) -> Iterator[None]:
    """Be connected to a cluster; one that is started here ends here, and hears this machine only."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, object] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if options.address is None:
            cpus = options.workers and max(1, round(options.workers * options.cpus))
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE,
                **quiet,
            )
        else:
            ray.init(address=options.address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"No Ray cluster at {options.address or 'this machine'}: {' '.join(str(error).split())[:300]}",
            "ray start --head starts one; without --ray-address one is started here.",
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _ray(options: RayOptions) -> Any:
    """The library, told to report nothing to its makers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if options.address is None:  # so that Ray takes the loopback address, which it does by itself elsewhere
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # a worker without a GPU of its own sees those of its machine, as any process there does
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise UsageError(
            "The engine ray needs Ray, which is not installed.", "Run: pip install 'vit-xai[ray]'"
        ) from None
