"""What happens when a command fails: one message and the documented exit code."""

import errno
import logging
import os
import traceback
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from xai.cli import signals, streams
from xai.cli.output import say

OK, BUG, USAGE, MISSING, PARTLY, INTERRUPTED = 0, 1, 2, 3, 4, 130

REFUSED = {
    number
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EACCES", "EPERM", "ENAMETOOLONG", "ENOTDIR", "EISDIR",
                 "ELOOP", "EMFILE", "ENFILE", "EFBIG", "ESTALE", "ENOMEM")
    if (number := getattr(errno, name, None)) is not None
}  # fmt: skip
"""What a system may object to through no fault of ours; a file that is not there would be one."""

Debug = typer.Option("--debug", help="On an error show where it happened; show library warnings.")


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: errors become one message (with `debug=True` a traceback too), memory is kept.

    What a command with a `lang` says of its results is in that language; options and errors are English.
    """

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        debug = bool(options.get("debug"))
        if not debug:
            _quieten()
        try:
            from xai.core import keep_freed_memory  # here, so that --help stays light
            from xai.core.language import language

            keep_freed_memory()
            with language(options.get("lang")):
                command(*args, **options)
        except KeyboardInterrupt:
            say("Interrupted.")
            raise typer.Exit(signals.interrupted()) from None
        except typer.Exit:
            raise
        except Exception as error:
            if debug:
                say(traceback.format_exc().rstrip())
            raise typer.Exit(_report(error)) from None
        if (lost := streams.undelivered()) is not None:
            say(f"Error: The results could not be printed: {lost.strerror}. Files written are whole.")
            raise typer.Exit(MISSING)

    return run


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
