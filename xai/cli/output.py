"""Results to stdout, everything said about them to stderr."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from xai.cli import streams


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


def show_json(content: Any) -> None:
    """Print a result for programs."""
    show(json.dumps(content, indent=2, ensure_ascii=False))


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns: plain text, the same in a pipe as on a terminal."""
    from rich.cells import cell_len

    lines = [header, *rows]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = (text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True))
        show("  ".join(cells).rstrip())


def _echo(text: str, err: bool = False, end: bool = True) -> None:
    from xai.core import valid_text

    try:
        typer.echo(valid_text(text), err=err, nl=end)
    except OSError as error:
        streams.lost(error, sys.stderr if err else sys.stdout)


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr if that is a terminal; yields the function to call after each step."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """What to say meanwhile, on stderr: one line, rewritten, on a terminal; else a line each time."""
    live = sys.stderr.isatty()
    try:
        yield lambda text: _echo(f"\r\x1b[K{text}" if live else text, err=True, end=not live)
    finally:
        if live:
            _echo("", err=True)
