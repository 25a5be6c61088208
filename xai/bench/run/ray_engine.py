"""Shards as tasks of a Ray cluster: a bounded number in flight, lost workers replaced, shards retried."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from time import monotonic, sleep
from typing import Any, TypeVar

from xai.bench.run.context import RunContext
from xai.bench.run.engines import FinishedItem, RayOptions, ShardWork
from xai.bench.run.ray_cluster import check_room, connected, death, ray_module, resources_of, room_for
from xai.bench.run.ray_worker import Expected, Worker, WorkerReport, on_worker, result_or_error
from xai.bench.run.store import Store
from xai.core import ModelError, UsageError
from xai.core.runtime import decisive

TICK = 2.0  # seconds after which the size of the cluster is looked at again
STARTS = 3  # workers that die one after the other before any is ready: something is wrong with all of them

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
        self._ray = ray_module(options)
        self._connected = ExitStack()

    def __enter__(self) -> "RayEngine":
        self._connected.enter_context(connected(self._ray, self._options))
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
            raise ModelError(f"What is in the data could not be looked at: {death(lost)}.") from None
        if error is not None:
            raise error
        found[under_way.pop(promise)] = value

    def tried(self, function: Callable[[RunContext], Result], context: RunContext) -> Result:
        """Where a worker could be; waits for it if workers are asked for by number."""
        resources = resources_of(context, self._options)
        if self._options.workers is None:
            check_room(self._ray, resources)
        task = self._ray.remote(result_or_error).options(num_cpus=resources["CPU"], num_gpus=resources["GPU"])
        job = partial(on_worker, function, max(1, round(self._options.cpus)))
        try:
            value, error = self._ray.get(task.remote(job, replace(context, plans=False)))
        except self._ray.exceptions.RayError as lost:
            raise ModelError(f"The precision could not be tried on a worker: {death(lost)}.") from None
        if error is not None:
            raise error
        return value

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
        self._resources = resources_of(context, options)
        cpus, gpus = self._resources.values()
        self._actor = ray.remote(Worker).options(
            num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0
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
        if options.workers is None:
            check_room(ray, self._resources)

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
            self._looked, self._room = monotonic(), room_for(self._ray, self._resources)
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
            return WorkerReport(crash=death(error))
