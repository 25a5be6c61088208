"""What a command says: results to stdout, everything said about them to stderr, errors as one message.

The two streams may be closed, full, a pipe that nobody reads, or unable to write more than ASCII. A command
that fails or is stopped leaves with the documented exit code; SIGINT and SIGTERM end it alike: what is being
written goes, what is written stays.
"""

import contextlib
import errno
import json
import logging
import os
import signal
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter, signature
from math import isfinite
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from xai.cli.options import Debug, expand, with_parameters

if TYPE_CHECKING:
    from xai.explanation import Failure
    from xai.report.payload import Page

HEAVY_PAGE = 100_000_000  # bytes

_undelivered: OSError | None = None

OK, BUG, USAGE, MISSING, PARTLY, INTERRUPTED = 0, 1, 2, 3, 4, 130

REFUSED = {
    number
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EACCES", "EPERM", "ENAMETOOLONG", "ENOTDIR", "EISDIR",
                 "ELOOP", "EMFILE", "ENFILE", "EFBIG", "ESTALE", "ENOMEM")
    if (number := getattr(errno, name, None)) is not None
}  # fmt: skip
"""What a system may object to through no fault of ours; a file that is not there would be one."""


_received: signal.Signals | None = None


def say(message: str) -> None:
    """Tell the person something: stderr, since stdout is data."""
    _echo(message, err=True)


def say_next(advice: str) -> None:
    """What to do next, the last line of every command."""
    from xai.core.language import gettext

    say(gettext("Next: {advice}", advice=advice))


def show(text: str) -> None:
    """Print a result."""
    _echo(text)


def show_json(content: Any, streamed: str = "", items: Iterable[str] = ()) -> None:
    """Print a result for programs.

    Args:
        content: All of it.
        streamed: Key of an empty list in it whose items are given as text.
        items: Pieces of that text: indented JSON, a comma between two items.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False)
    head, key, tail = text.partition(f'"{streamed}": []') if streamed else (text, "", "")
    first = next(pieces := iter(items), None)
    if first is None:
        show(text)
        return
    _echo(f"{head}{key[:-1]}\n{first}", end=False)
    for piece in pieces:
        _echo(piece, end=False)
    show(f"\n  ]{tail}")


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns: plain text, the same in a pipe as on a terminal."""
    from rich.cells import cell_len

    lines = [header, *rows]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = (text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True))
        show("  ".join(cells).rstrip())


def say_failures(failures: "Iterable[Failure]") -> None:
    """A line per image that could not be explained."""
    from xai.core.language import gettext

    for failure in failures:
        text = str(failure.error)
        reason = text if text.startswith(failure.name) else f"{failure.name}: {text}"
        say(gettext("Failed: {reason}", reason=reason))


def say_nothing_done(failures: "Sequence[Failure]", total: int) -> None:
    """What a run says of which nothing came: why, how many, what to do."""
    from xai.core.language import gettext

    say_failures(failures)
    counts = [gettext("{n} of {total} images explained", n=0, total=total)]
    counts += [gettext("{n} failed", n=len(failures))] if failures else []
    say(gettext("{counts}.", counts=gettext(", ").join(counts)))
    say_next(gettext("check the paths; xai demo shows a run that works."))


def write_page(page: "Page", out: Path) -> Path:
    """Write `index.html`, and say so if it is too large to be read with ease."""
    import xai.report as report
    from xai.core.language import gettext
    from xai.explanation import writing

    path = out / "index.html"
    with writing(out):
        report.write_page(page, path)
        size = path.stat().st_size
    if size > HEAVY_PAGE:
        say(
            gettext(
                "{path} has {size} MB, which browsers are slow with: explain fewer images at once.",
                path=path,
                size=f"{size / 1e6:.0f}",
            )
        )
    return path


def _echo(text: str, err: bool = False, end: bool = True) -> None:
    from xai.core import valid_text

    try:
        typer.echo(valid_text(text), err=err, nl=end)
    except OSError as error:
        lost(error, sys.stderr if err else sys.stdout)


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[..., object]]:
    """The bar of the library's own calls; yields the function to call after each step."""
    from xai.core.progress import progress as shown  # here, so that --help stays light

    with shown(total, what) as step:
        yield step


@contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """What to say meanwhile, on stderr: one line, rewritten, on a terminal; else a line each time."""
    live = sys.stderr.isatty()
    try:
        yield lambda text: _echo(f"\r\x1b[K{text}" if live else text, err=True, end=not live)
    finally:
        if live:
            _echo("", err=True)


def prepare_streams() -> None:
    """Open what is closed, so that no file of ours gets its number; escape what an encoding lacks."""
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            _to_nowhere(descriptor)
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # a stream of other making
            stream.reconfigure(errors="backslashreplace")  # pyrefly: ignore[missing-attribute]


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


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: errors become one message and an exit code; adds --debug.

    What a command with a `lang` says of its results is in that language; options and errors are English.
    Parameters that are classes of options become those options, see `expand`.
    """
    command = expand(command)

    @wraps(command)
    def run(*, debug: bool = False, **options: Any) -> None:
        if not debug:
            _quieten()
        try:
            from xai.core import keep_freed_memory, spin_briefly  # here, so that --help stays light
            from xai.core.language import language

            keep_freed_memory()
            spin_briefly()
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
    if (frame := _foreign_frame(error)) is not None:
        say(f"Error: {type(error).__name__}: {error}")
        say(f"  Raised by {frame.filename}, line {frame.lineno}, no part of xai. More with --debug.")
        return BUG
    say(f"Internal error: {type(error).__name__}: {error}")
    say("  This is a bug in xai. Run the same command with --debug to see where it happens.")
    return BUG


def _foreign_frame(error: Exception) -> traceback.FrameSummary | None:
    """Where somebody's own code raised, such as a method named `module:Class`; None where this package did.

    Libraries raise for whoever called them.
    """
    package, standard = Path(__file__).parents[1], sysconfig.get_path("stdlib")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_relative_to(package):
            return None
        library = {"site-packages", "dist-packages"} & {*file.parts} or file.is_relative_to(standard)
        if file.is_absolute() and not library:
            return frame
    return None


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


def interval_text(low: float, high: float, digits: str) -> str:
    """Both ends in brackets; nothing where so few images give no interval."""
    return f"[{low:{digits}}, {high:{digits}}]" if isfinite(low) else ""


def probability_text(probability: float) -> str:
    """Three decimals; never 0 or 1 unless it is exactly that."""
    if 0 < probability < 0.0005:
        return "<0.001"
    return ">0.999" if 0.9995 <= probability < 1 else f"{probability:.3f}"
