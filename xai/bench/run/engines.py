"""Who works a work item off, and where; what is done to it is the same everywhere."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from xai.bench.data.files import in_threads
from xai.bench.data.sources import ImageSource
from xai.bench.run.context import RunContext
from xai.bench.run.items import WorkItem
from xai.bench.run.store import Store
from xai.bench.run.work_item import run_item
from xai.core import UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ShardWork:
    """The work items of one shard, which share its images and maps: what one worker does at a time.

    Args:
        work_items: Those that are not done.
        source: The images of the shard.
    """

    work_items: tuple[WorkItem, ...]
    source: ImageSource


@dataclass(frozen=True)
class FinishedItem:
    """What became of a work item.

    Args:
        item: Which.
        forwards: Forward passes of perturbed images.
        workers: How many worked when it ended.
        failure: Why there is no part of it; None: there is one.
    """

    item: WorkItem
    forwards: int = 0
    workers: int = 1
    failure: str | None = None


class Engine(Protocol):
    """Somebody who works; a context manager, in which what is needed for it is there."""

    plans: bool
    """Whether this process only plans: the model's device is that of workers elsewhere."""

    def __enter__(self) -> "Engine": ...

    def __exit__(self, *error: object) -> None: ...

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Results of a function that waits for files more than it computes, in the order of the items."""
        ...

    def tried(self, function: Callable[[RunContext], Result], context: RunContext) -> Result:
        """What a function finds out on a device that will work."""
        ...

    def run(self, context: RunContext, store: Store, work: Iterable[ShardWork]) -> Iterator[FinishedItem]:
        """Work work items off in any order; says of each what became of it, once its part is written."""
        ...


@dataclass(frozen=True)
class RayOptions:
    """How work items are spread over a Ray cluster.

    Args:
        address: Of a running cluster, "auto" for the one that this machine belongs to; None starts one here
            and ends it afterwards.
        workers: How many at most, each with a model and a device of its own; waits for machines to join;
            None for as many as the cluster has room for, also while it grows or shrinks.
        cpus: Of each worker.
        gpus: Of each worker; None: one if the configuration's device is cuda, else none.
        retries: How often a shard is tried again whose worker died.
    """

    address: str | None = None
    workers: int | None = None
    cpus: float = 1
    gpus: float | None = None
    retries: int = 2

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"{self.workers} workers cannot work.", "Ask for one or more.")
        if self.retries < 0 or self.cpus <= 0 or (self.gpus or 0) < 0:
            raise UsageError("Retries and GPUs are not negative, and a worker needs some CPU.")


def complete(context: RunContext, store: Store, item: WorkItem) -> int:
    """Run a work item and write its part; returns the forward passes of perturbed images."""
    outcome = run_item(context, item)
    store.write(item.key, outcome)
    return outcome.forwards


class LocalEngine:
    """One work item after the other, in this process."""

    plans = False

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        return in_threads(function, items)

    def tried(self, function: Callable[[RunContext], Result], context: RunContext) -> Result:
        return function(context)

    def run(self, context: RunContext, store: Store, work: Iterable[ShardWork]) -> Iterator[FinishedItem]:
        for shard in work:
            context.source = shard.source
            for item in shard.work_items:
                yield FinishedItem(item, complete(context, store, item))
