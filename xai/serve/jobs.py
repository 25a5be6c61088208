"""Work for the model: one thread, one job after the other, each of which can be waited for and stopped."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from typing import Any

from torch import nn

from xai.core import UsageError, XaiError
from xai.core.language import gettext

log = logging.getLogger(__name__)

MOST_WAITING = 100
Tell = Callable[[dict[str, Any]], None]


class Stopped(BaseException):
    """The work is not wanted any more. No `Exception`: nothing on its way may take it for a failure."""


@dataclass(eq=False)
class Job:
    """Work in steps, between which urgent work may be done.

    Args:
        id: Unique.
        what: What is done, in words.
        steps: Done one after the other; made when the first one's turn comes.
        total: How many steps there are.
        urgent: Whether it goes before what is not, also between the steps of that.
        group: Of jobs of one group only the latest waits; None: it is of no group.
        limited: Whether it is refused where many wait already.
    """

    id: str
    what: str
    steps: Iterator[None]
    total: int = 1
    urgent: bool = False
    group: str | None = None
    limited: bool = True
    done: int = 0
    state: str = "waiting"
    stop: Event = field(default_factory=Event)

    def event(self, **more: Any) -> dict[str, Any]:
        """What is told of it."""
        told = {"id": self.id, "what": self.what, "state": self.state, "done": self.done, "total": self.total}
        return {"kind": "job", **told, "urgent": self.urgent, **more}


class JobWorker:
    """The thread that does the jobs.

    Args:
        tell: Is called, from any thread, with what becomes of a job.
    """

    def __init__(self, tell: Tell):
        self._tell = tell
        self._jobs: list[Job] = []
        self._current: Job | None = None
        self._closed = False
        self._changed = Condition()
        # a step that never comes back must not keep the program from ending
        self._thread = Thread(target=copy_context().run, args=(self._work,), name="xai-serve", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue.

        Raises:
            UsageError: Too many are waiting.
        """
        replaced = None
        with self._changed:
            if job.group is not None:
                waiting = [one for one in self._jobs if one.group == job.group and one is not self._current]
                replaced = next(iter(waiting), None)
            if replaced is not None:
                self._jobs.remove(replaced)
            elif job.limited and len(self._jobs) >= MOST_WAITING:
                raise UsageError(
                    gettext("{n} requests are waiting already.", n=MOST_WAITING),
                    gettext("Wait for some, or cancel them."),
                )
            self._jobs.append(job)
            self._changed.notify()
        if replaced is not None:
            self._end(replaced, "stopped")
        self._tell(job.event())

    def cancel(self, job_id: str) -> bool:
        """Stop a job, at the model's next forward pass if it runs; whether there was one to stop."""
        with self._changed:
            job = next((one for one in self._jobs if one.id == job_id), None)
            if job is None:
                return False
            job.stop.set()
            if job is self._current:
                return True
            self._jobs.remove(job)
        self._end(job, "stopped")
        return True

    def jobs(self) -> list[dict[str, Any]]:
        """What is told of all that wait or run, in order."""
        with self._changed:
            return [job.event() for job in self._jobs]

    def close(self, patience: float = 10.0) -> None:
        """Stop everything, and wait so many seconds for the thread to end."""
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.stop.set()
            self._changed.notify()
        self._thread.join(patience)
        with self._changed:
            left = [job for job in self._jobs if job is not self._current]
            self._jobs = [job for job in self._jobs if job is self._current]
        for job in left:
            self._end(job, "stopped")

    @contextmanager
    def stoppable(self, classifier: nn.Module) -> Iterator[None]:
        """Raise `Stopped` at a forward pass of the classifier when the job that runs is to stop."""

        def look(module: nn.Module, given: Any) -> None:
            self.check()

        handle = classifier.register_forward_pre_hook(look)
        try:
            yield
        finally:
            handle.remove()

    def check(self) -> None:
        """Raise `Stopped` when the job that runs is to stop."""
        if self._current is not None and self._current.stop.is_set():
            raise Stopped

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = next((one for one in self._jobs if one.urgent), self._jobs[0])
                self._current = job
            self._step(job)

    def _step(self, job: Job) -> None:
        if job.state == "waiting":
            job.state = "running"
            self._tell(job.event())
        try:
            self.check()
            next(job.steps)
        except StopIteration:
            self._finish(job, "done")
        except Stopped:
            self._finish(job, "stopped")
        except XaiError as error:
            self._finish(job, "failed", message=error.message, hint=error.hint)
        except MemoryError:
            self._finish(job, "failed", message=gettext("There is not enough memory."), hint=None)
        except Exception as error:  # a bug must not end the thread, and with it the whole page
            log.exception("A bug in xai: %s", job.what)
            message = gettext("Internal error: {error}", error=f"{type(error).__name__}: {error}")
            self._finish(job, "failed", message=message, hint=gettext("This is a bug in xai."))
        else:
            job.done += 1
            self._tell(job.event())

    def _finish(self, job: Job, state: str, **why: Any) -> None:
        with self._changed:
            self._current = None
            self._jobs.remove(job)
        self._end(job, state, **why)

    def _end(self, job: Job, state: str, **why: Any) -> None:
        job.state = state
        if state == "done":
            job.done = job.total
        close = getattr(job.steps, "close", None)
        if close is not None:
            close()
        self._tell(job.event(**why))
