"""One thread, one job after the other; urgent ones between steps; each can be stopped."""

from threading import Event

import pytest
import torch
from serving import Heard
from torch import nn

from xai.core import UsageError
from xai.serve.jobs import MOST_WAITING, Job, JobWorker


@pytest.fixture
def worker(heard: Heard):
    made = JobWorker(heard)
    yield made
    made.close()


def steps(done: list[str], name: str, count: int, gate: Event | None = None):
    for number in range(count):
        if gate is not None:
            assert gate.wait(60)
        done.append(f"{name}{number}")
        yield


def test_jobs_are_done_in_order_and_urgent_ones_between_steps(worker, heard):
    done, gate = [], Event()

    def slow():
        assert gate.wait(60)
        done.append("a0")
        yield
        done.append("a1")
        yield

    worker.submit(Job("a", "first", slow(), total=2))
    heard.until(lambda one: one["id"] == "a" and one["state"] == "running")
    worker.submit(Job("b", "second", steps(done, "b", 1)))
    worker.submit(Job("c", "urgent", steps(done, "c", 1), urgent=True))
    gate.set()
    for job in "abc":
        assert heard.end_of(job)["state"] == "done"
    assert done == ["a0", "c0", "a1", "b0"]
    assert worker.jobs() == []


def test_a_job_that_waits_is_cancelled_at_once_and_never_begun(worker, heard):
    done, gate = [], Event()
    worker.submit(Job("a", "first", steps(done, "a", 1, gate)))
    worker.submit(Job("b", "second", steps(done, "b", 1)))
    assert worker.cancel("b")
    assert heard.end_of("b")["state"] == "stopped"
    assert not worker.cancel("b")
    gate.set()
    assert heard.end_of("a")["state"] == "done"
    assert done == ["a0"]


def test_a_job_that_runs_is_stopped_at_the_next_forward_pass_and_the_model_is_as_before(worker, heard):
    model, begun, gate = nn.Linear(2, 2), Event(), Event()
    passes = []

    def work():
        with worker.stoppable(model):
            begun.set()
            assert gate.wait(60)
            try:
                model(torch.zeros(1, 2))
            except Exception:  # what a method may do on its way must not take it for a failure
                passes.append("caught")
            passes.append("passed")
        yield

    worker.submit(Job("a", "work", work()))
    assert begun.wait(60)
    assert worker.cancel("a")
    gate.set()
    assert heard.end_of("a")["state"] == "stopped"
    assert passes == []
    assert not model._forward_pre_hooks
    model(torch.zeros(1, 2))


def test_of_a_group_only_the_latest_waits(worker, heard):
    done, gate = [], Event()
    worker.submit(Job("a", "first", steps(done, "a", 1, gate), group="x"))
    heard.until(lambda one: one["id"] == "a" and one["state"] == "running")
    worker.submit(Job("b", "second", steps(done, "b", 1), group="x"))
    worker.submit(Job("c", "third", steps(done, "c", 1), group="x"))
    assert heard.end_of("b")["state"] == "stopped"
    gate.set()
    heard.end_of("c")
    assert done == ["a0", "c0"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UsageError("Wrong.", "Do right."), ("Wrong.", "Do right.")),
        (ValueError("oh"), ("Internal error: ValueError: oh", "This is a bug in xai.")),
        (MemoryError(), ("There is not enough memory.", None)),
    ],
)
def test_a_job_that_fails_says_why_and_the_next_is_done(worker, heard, error, said):
    def work():
        raise error
        yield

    worker.submit(Job("a", "work", work()))
    end = heard.end_of("a")
    assert (end["state"], end["message"], end["hint"]) == ("failed", *said)
    worker.submit(Job("b", "next", steps([], "b", 1)))
    assert heard.end_of("b")["state"] == "done"


def test_too_many_are_refused(worker, heard):
    gate = Event()
    for number in range(MOST_WAITING):
        worker.submit(Job(str(number), "work", steps([], "x", 1, gate)))
    with pytest.raises(UsageError, match="100 requests are waiting"):
        worker.submit(Job("more", "work", steps([], "x", 1)))
    gate.set()


def test_closing_stops_what_runs_and_what_waits(heard):
    worker, model, begun = JobWorker(heard), nn.Linear(2, 2), Event()

    def endless():
        with worker.stoppable(model):
            while True:
                begun.set()
                model(torch.zeros(1, 2))
        yield

    worker.submit(Job("a", "endless", endless()))
    assert begun.wait(60)
    worker.close()
    assert heard.end_of("a")["state"] == "stopped"
    assert not worker._thread.is_alive()
