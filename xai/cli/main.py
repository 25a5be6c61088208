"""The command `xai`: its commands and its exit codes."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from xai.cli import (
    benchmark,
    compare,
    demo,
    doctor,
    explain,
    forge,
    methods,
    models,
    report,
    signals,
    streams,
    tune,
)
from xai.cli.guard import BUG, INTERRUPTED, MISSING, OK
from xai.cli.output import say

EPILOG = (
    "Exit codes: 0 ok · 1 bug · 2 usage or configuration · 3 model or data missing, or no image explained · "
    "4 some images explained, some failed · 130 interrupted · 143 terminated. "
    "3 also where results cannot be written or printed."
)


app = typer.Typer(
    name="xai",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        packages = " ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "captum"))
        typer.echo(f"xai {version('vit-xai')} ({packages})")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print versions and exit.")
    ] = False,
) -> None:
    """See what a vision transformer looked at: relevance maps per class for CLIP-ViT detectors and others.

    Start with: xai demo
    """


app.command()(explain.explain)
app.command()(compare.compare)
app.command()(demo.demo)
app.command()(report.report)
app.command()(methods.methods)
app.command()(doctor.doctor)
app.command()(tune.tune)
app.command()(forge.forge)
app.add_typer(models.app, name="models")
app.add_typer(benchmark.app, name="benchmark")


def main() -> None:
    """Entry point of the command `xai` and of `python -m xai`."""
    streams.prepare()
    signals.catch()
    begun = sys.stdout
    code: object = OK
    try:
        app()
    except SystemExit as end:
        code = end.code
    except OSError as error:  # the help, to a full disk; a command's own errors are caught by its guard
        streams.lost(error, begun)
    try:
        begun.flush()
    except OSError as error:
        streams.lost(error, begun)
    if code == OK and streams.undelivered() is not None:
        say("Error: Nothing could be printed.")
        code = MISSING
    elif code == BUG and sys.stdout is not begun:  # so typer says that a reader has seen enough
        code = OK
    elif signals.received() and code in (
        BUG,
        INTERRUPTED,
        signals.SIGTERM,
    ):  # typer's words for it, and Ray's
        code = signals.interrupted()
    raise SystemExit(code)
