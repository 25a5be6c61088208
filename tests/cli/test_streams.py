"""The command in a process of its own, where nobody reads, nothing fits, and signals come."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_detector import write_photos

from xai.cli.output import probability_text

COMMAND = [sys.executable, "-m", "xai"]
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")


def shell(line, **environment):
    """Run a line with `xai` standing for the command; its exit code and what it said."""
    line = line.replace("xai ", f"{sys.executable} -m xai ")
    done = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
        check=False,
    )
    assert "Traceback" not in done.stderr and "Internal error" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("command", ["xai --help", "xai methods --markdown", "xai nope 2>&1"])
def test_a_reader_that_has_seen_enough_is_no_error(command):
    done = shell(f"{command} | true; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == (2 if "nope" in command else 0), done.stderr


@needs_full
def test_results_that_cannot_be_printed_are_an_error():
    for command in ("xai --help", "xai --version", "xai benchmark protocols --json"):
        done = shell(f"{command} > /dev/full")
        assert done.returncode == 3
        assert "could" in done.stderr and "be printed" in done.stderr
    assert shell("xai nope 2> /dev/full").returncode == 2


def test_closed_streams_and_narrow_encodings():
    assert shell("xai benchmark metrics >&- 2>&- <&-").returncode == 0
    assert shell("xai nope >&- 2>&-").returncode == 2
    done = shell("xai benchmark metrics", PYTHONIOENCODING="latin-1", LC_ALL="C")
    assert done.returncode == 0 and "srg" in done.stdout


@needs_full
def test_files_are_whole_where_nothing_can_be_printed(tmp_path, detector):
    write_photos(tmp_path / "in", 2)
    line = f"xai explain {tmp_path}/in --config {detector} --method center_prior --out {tmp_path}/out"
    done = shell(f"{line} > /dev/full")
    assert done.returncode == 3
    assert len(list((tmp_path / "out").glob("*_explanation.json"))) == 2


def _hear_interrupts():
    """A shell starts its background jobs deaf to SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(arguments, out):
    """A command that has begun to write its results."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True, preexec_fn=_hear_interrupts
    )
    deadline = time.monotonic() + 100
    while not list(out.rglob("*.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_whatever_ends_it_nothing_half_written_stays(tmp_path, detector, xai_command, number, code):
    photos, out = write_photos(tmp_path / "in", 60), tmp_path / "out"
    arguments = ["explain", *photos, "--config", detector, "--method", "center_prior", "--out", out]
    process = started(arguments, out)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    if number != signal.SIGKILL:
        assert "Interrupted" in said and "Traceback" not in said
        assert not list(out.rglob(".xai-*"))
    assert xai_command(*arguments, "--pictures", "none").code == 0
    assert not list(out.rglob(".xai-*"))  # of the killed one, cleared by this one


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (0.99963, ">0.999"),
        (1.0, "1.000"),
        (0.9994, "0.999"),
        (0.0004, "<0.001"),
        (0.0, "0.000"),
        (0.5, "0.500"),
    ],
)
def test_no_probability_is_rounded_to_certainty(probability, shown):
    assert probability_text(probability) == shown
