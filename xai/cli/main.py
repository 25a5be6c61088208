"""The command `xai`: its commands and its exit codes."""

import sys
from importlib.metadata import version
from signal import SIGTERM
from typing import Annotated

import typer

from xai.cli import (
    benchmark,
    compare,
    doctor,
    explain,
    forge,
    manifest,
    methods,
    models,
    report,
    robustness,
    serve,
    survey,
    tune,
)
from xai.cli.output import (
    BUG,
    INTERRUPTED,
    MISSING,
    OK,
    catch_signals,
    interrupted,
    lost,
    prepare_streams,
    received,
    say,
    undelivered,
)

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
app.command()(explain.demo)
app.command()(serve.serve)
app.command()(report.report)
app.command()(methods.methods)
app.command()(doctor.doctor)
app.command()(tune.tune)
app.command()(forge.forge)
app.command()(manifest.manifest)
app.command()(robustness.robustness)
app.add_typer(models.app, name="models")
app.add_typer(benchmark.app, name="benchmark")
app.add_typer(survey.app, name="survey")


def main() -> None:
    """Entry point of the command `xai` and of `python -m xai`."""
    prepare_streams()
    catch_signals()
    begun = sys.stdout
    code: object = OK
    try:
        app()
    except SystemExit as end:
        # 1 is what typer and rich make of a reader that has seen enough (`--help | head`)
        broken = isinstance(end.__context__, BrokenPipeError)
        code = _meant(end.__context__) if broken else end.code
    except OSError as error:  # while typer printed; a command's own errors are caught by its guard
        code = _meant(error)
        lost(error, begun if code == OK else sys.stderr)
    try:
        begun.flush()
    except OSError as error:
        lost(error, begun)
    if code == OK and undelivered() is not None:
        say("Error: Nothing could be printed.")
        code = MISSING
    elif received() and code in (BUG, INTERRUPTED, SIGTERM):  # what typer and Ray say of a signal
        code = interrupted()
    raise SystemExit(code)


def _meant(error: BaseException | None) -> int:
    """The exit code of the usage error that was to be shown when printing failed; 0 if there was none."""
    while error is not None:
        if isinstance(code := getattr(error, "exit_code", None), int):
            return code
        error = error.__context__
    return OK
