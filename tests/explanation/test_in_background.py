"""A thread beside the main one: order, bounds, failures, interrupts and context are as without it."""

from threading import Event, current_thread, main_thread

import pytest

from xai.core import DataError
from xai.core.language import current_language, language
from xai.explanation.inputs import Failure, in_background

PATIENCE = 30  # seconds until a test that waits for another thread fails


def test_results_come_in_order_from_one_other_thread_while_jobs_are_made():
    begun, made = Event(), []

    def job(number):
        begun.set()
        return number, current_thread()

    def jobs():
        for number in range(6):
            made.append(number)
            yield lambda number=number: job(number)
            assert begun.wait(PATIENCE), "the job runs although nobody asked for its result"

    results = list(in_background(jobs(), ahead=3))
    assert [number for number, _ in results] == list(range(6)) == made
    (thread,) = {thread for _, thread in results}
    assert thread is not main_thread()


def test_no_more_jobs_wait_than_asked_for():
    let, made, done = Event(), [], []

    def jobs():
        for number in range(9):
            made.append(number)
            if number == 3:
                let.set()  # up to here nothing could be finished
            yield lambda number=number: (let.wait(PATIENCE), done.append(number))

    results = in_background(jobs(), ahead=3)
    next(results)
    assert made == [0, 1, 2, 3], "one whose result is given, three that wait"
    list(results)
    assert done == list(range(9))


def test_a_failure_is_given_before_anything_after_it_is_begun():
    made = []

    def jobs():
        for number in range(3):
            made.append(number)
            yield Failure("broken", DataError("x")) if number == 1 else lambda number=number: number

    results = in_background(jobs(), ahead=8)
    assert next(results) == 0
    assert isinstance(next(results), Failure)
    assert made == [0, 1]
    assert list(results) == [2]


def test_after_a_job_that_fails_none_is_run():
    ran = []

    def job(number):
        ran.append(number)
        if number == 2:
            raise ZeroDivisionError("a bug")
        return number

    given = []
    with pytest.raises(ZeroDivisionError, match="a bug") as caught:
        for result in in_background([lambda n=n: job(n) for n in range(6)], ahead=6):
            given.append(result)  # noqa: PERF402 - what came before the error counts
    assert given == [0, 1]
    assert ran == [0, 1, 2]
    assert "job" in [frame.name for frame in caught.traceback], "the traceback shows where it happened"


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError("no model")])
def test_what_was_made_before_an_error_is_finished_and_given(error):
    def jobs():
        for number in range(4):
            yield lambda number=number: number
        raise error

    given = []
    with pytest.raises(error if isinstance(error, type) else type(error)):
        for result in in_background(jobs(), ahead=8):
            given.append(result)  # noqa: PERF402
    assert given == [0, 1, 2, 3]


def test_a_caller_that_stops_asking_stops_the_jobs_but_not_in_the_middle_of_one():
    second, begun, let, ran = Event(), Event(), Event(), []

    def job(number):
        if number == 0:
            second.wait(PATIENCE)
        if number == 1:
            begun.set()
            let.wait(PATIENCE)
        ran.append(number)

    def jobs():
        for number in range(5):
            if number == 2:
                second.set()  # the job before it waits for the thread
            yield lambda number=number: job(number)

    results = in_background(jobs(), ahead=2)
    next(results)
    assert begun.wait(PATIENCE)
    let.set()
    results.close()
    assert ran == [0, 1]


def test_a_job_runs_in_the_context_in_which_it_was_made():
    def jobs():
        for code in ("zh", "en", "zh"):
            with language(code):
                yield current_language

    assert list(in_background(jobs(), ahead=3)) == ["zh", "en", "zh"]
