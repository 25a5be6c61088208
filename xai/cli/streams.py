"""The standard streams, whatever the caller made of them: closed, full, a pipe that nobody reads, ASCII."""

import contextlib
import errno
import os
import sys
from typing import Any

_undelivered: OSError | None = None


def prepare() -> None:
    """Open what is closed, so that no file of ours gets its number; escape what an encoding lacks."""
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            _to_nowhere(descriptor)
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # a stream of other making
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]


def lost(error: OSError, stream: Any) -> None:
    """Take note that something could not be printed; the work goes on.

    A reader that has seen enough (`| head`) is no error. Nobody can be told that stderr is broken.
    """
    global _undelivered
    if stream is sys.stdout and error.errno != errno.EPIPE:
        _undelivered = error
    with contextlib.suppress(AttributeError, OSError, ValueError):
        # what the stream still holds would fail again at the end of the process
        _to_nowhere(stream.fileno())


def undelivered() -> OSError | None:
    """Why results did not get to stdout; asked once."""
    global _undelivered
    error, _undelivered = _undelivered, None
    return error


def _to_nowhere(descriptor: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
