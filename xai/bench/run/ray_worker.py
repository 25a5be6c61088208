"""What a worker of a Ray cluster does: hold one model on one device, and work work items off."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xai.bench.run.context import RunContext
from xai.bench.run.engines import FinishedItem, ShardWork, complete
from xai.bench.run.store import Store
from xai.core import ModelError, XaiError, keep_freed_memory
from xai.core.runtime import decisive


@dataclass(frozen=True)
class WorkerReport:
    """What a worker says at the end of a shard, or when it is ready.

    Args:
        done: Units whose parts are written.
        error: What ends the run, as it would end it in one process.
        crash: What is wrong with this worker or this shard alone; the worker is not to be used again.
    """

    done: tuple[FinishedItem, ...] = ()
    error: XaiError | None = None
    crash: str | None = None


@dataclass(frozen=True)
class Expected:
    """What a worker must share with the process that planned the run.

    Args:
        versions: Of what may change a number.
        fingerprint: Of the model.
    """

    versions: dict[str, str]
    fingerprint: str


class Worker:
    """An actor's content.

    Args:
        context: Of the run; the model is loaded here.
        expected: Identity of the run, which this machine must be able to keep.
        threads: Of torch on the CPU.
    """

    def __init__(self, context: RunContext, expected: Expected, threads: int):
        self._context, self._expected, self._threads = context, expected, threads

    def ready(self) -> WorkerReport:
        """Load the model, and see that it is the one the run was planned with."""
        try:
            import torch

            keep_freed_memory()
            torch.set_num_threads(self._threads)
            self._context.import_code()
            _same("versions", self._expected.versions, decisive())
            _same("model", self._expected.fingerprint, self._context.classifier.fingerprint)
        except XaiError as error:
            return WorkerReport(error=error)
        except Exception as error:
            return WorkerReport(crash=_words(error))
        return WorkerReport()

    def work(self, work: ShardWork) -> WorkerReport:
        """Do the work items of a shard; those that a worker before this one finished are not done again."""
        context, done = self._context, []
        if context.folder is None:
            raise TypeError("a worker needs a folder to write to")
        context.source, store = work.source, Store(context.folder)
        try:
            for item in work.work_items:
                forwards = 0 if store.has(item.key) else complete(context, store, item)
                done.append(FinishedItem(item, forwards))
        except XaiError as error:
            return WorkerReport(tuple(done), error=error)
        except Exception as error:  # of this machine or these images: elsewhere it may go well
            return WorkerReport(tuple(done), crash=_words(error))
        return WorkerReport(tuple(done))


def on_worker(function: Callable[[RunContext], Any], threads: int, context: RunContext) -> Any:
    """What a function finds out on this machine, ready as a worker is."""
    import torch

    keep_freed_memory()
    torch.set_num_threads(threads)
    context.import_code()
    return function(context)


def result_or_error(function: Callable[[Any], Any], item: Any) -> tuple[Any, XaiError | None]:
    """The result, or the error that ends the run."""
    try:
        return function(item), None
    except XaiError as error:
        return None, error


def _same(what: str, planned: Any, found: Any) -> None:
    if found != planned:
        raise ModelError(
            f"The worker on {os.uname().nodename} has another {what} than the run: {found}, not {planned}.",
            "All machines need the same weights and the same versions of the libraries.",
        )


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
