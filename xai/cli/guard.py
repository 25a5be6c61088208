"""What happens when a command fails or is stopped: one message and the documented exit code.

SIGINT and SIGTERM end a command alike: what is being written goes, what is written stays.
"""

import errno
import logging
import os
import signal
import traceback
import warnings
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from types import FrameType
from typing import Any

import typer

from xai.cli.options import Debug, expand, with_parameters
from xai.cli.output import say, undelivered

OK, BUG, USAGE, MISSING, PARTLY, INTERRUPTED = 0, 1, 2, 3, 4, 130

REFUSED = {
    number
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EACCES", "EPERM", "ENAMETOOLONG", "ENOTDIR", "EISDIR",
                 "ELOOP", "EMFILE", "ENFILE", "EFBIG", "ESTALE", "ENOMEM")
    if (number := getattr(errno, name, None)) is not None
}  # fmt: skip
"""What a system may object to through no fault of ours; a file that is not there would be one."""


_received: signal.Signals | None = None


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: errors become one message and an exit code, memory is kept; adds --debug.

    What a command with a `lang` says of its results is in that language; options and errors are English.
    Parameters that are classes of options become those options, see `expand`.
    """
    command = expand(command)

    @wraps(command)
    def run(*, debug: bool = False, **options: Any) -> None:
        if not debug:
            _quieten()
        try:
            from xai.core import keep_freed_memory  # here, so that --help stays light
            from xai.core.language import language

            keep_freed_memory()
            with language(options.get("lang")):
                command(**options)
        except KeyboardInterrupt:
            say("Interrupted.")
            raise typer.Exit(interrupted()) from None
        except typer.Exit:
            raise
        except Exception as error:
            if debug:
                say(traceback.format_exc().rstrip())
            raise typer.Exit(_report(error)) from None
        if (lost := undelivered()) is not None:
            say(f"Error: The results could not be printed: {lost.strerror}. Files written are whole.")
            raise typer.Exit(MISSING)

    debugging = Parameter("debug", Parameter.KEYWORD_ONLY, default=False, annotation=Debug)
    return with_parameters(run, [*signature(command).parameters.values(), debugging])


def _report(error: Exception) -> int:
    from xai.core import XaiError

    if isinstance(error, XaiError):
        say(f"Error: {error}")
        return error.exit_code
    if isinstance(error, OSError) and error.errno in REFUSED:
        say(f"Error: {error.filename or 'A file'}: {error.strerror}.")
        return MISSING
    if isinstance(error, MemoryError):
        say(f"Error: There is not enough memory: {error}.")
        return MISSING
    say(f"Internal error: {type(error).__name__}: {error}")
    say("  This is a bug in xai. Run the same command with --debug to see where it happens.")
    return BUG


def _quieten() -> None:
    """Keep the libraries' chatter off the terminal; our own warnings stay."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", module=r"xai\.")
    logging.captureWarnings(False)


def catch_signals() -> None:
    """Let both raise KeyboardInterrupt from now on, unless the caller ignores them (nohup)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)


def interrupted() -> int:
    """The exit code after KeyboardInterrupt: 130 for SIGINT, 143 for SIGTERM, as shells count."""
    return 128 + (_received or signal.SIGINT)


def received() -> bool:
    """Whether there was one."""
    return _received is not None


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _received
    _received = signal.Signals(number)
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_IGN)  # once is enough: the next would hit the tidying up
    raise KeyboardInterrupt
