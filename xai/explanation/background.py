"""Work in one thread beside the main one: what is explained is drawn while the next images are attributed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Event
from typing import TypeVar

from xai.explanation.inputs import Failure

Result = TypeVar("Result")


def in_background(jobs: Iterable[Callable[[], Result] | Failure], ahead: int) -> Iterator[Result | Failure]:
    """Run jobs one after the other in a thread, while the next ones are made; results in their order.

    Where the caller sees a difference it is in time alone. Failures are handed through at their place, and
    nothing after one is begun before the caller has it. After a job that fails none is run, and its error is
    raised once all results before it were given. An error in making the jobs, also an interrupt, is raised
    after the results of those that were made; a second interrupt ends at the job that runs. A caller that
    stops asking stops the jobs.

    Args:
        jobs: Each is called in the context (language) in which it was made.
        ahead: Most jobs whose results were not asked for when the next one is made.
    """
    stopped = Event()
    waiting: deque[Future[Result]] = deque()

    def run(job: Callable[[], Result]) -> Result:
        if stopped.is_set():
            raise CancelledError
        try:
            return job()
        except BaseException:
            stopped.set()
            raise

    def results(left: int) -> Iterator[Result]:
        while waiting and (len(waiting) > left or waiting[0].done()):
            result = waiting[0].result()
            waiting.popleft()
            yield result

    with ThreadPoolExecutor(1, "xai-writing") as thread:
        try:
            try:
                for job in jobs:
                    if isinstance(job, Failure):
                        yield from results(0)
                        yield job
                    else:
                        waiting.append(thread.submit(copy_context().run, run, job))
                        yield from results(ahead)
            except GeneratorExit:
                raise
            except BaseException:
                if not stopped.is_set():
                    yield from results(0)
                raise
            yield from results(0)
        finally:
            stopped.set()
