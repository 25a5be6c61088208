"""`xai models`: what can be chosen with --model."""

from dataclasses import asdict
from typing import Annotated

import typer

from xai.cli.guard import Debug, guarded
from xai.cli.options import Json
from xai.cli.output import say_next, show_json, show_table

app = typer.Typer(
    invoke_without_command=True, help="What can be explained: kinds of models, and how to name them."
)


@app.callback()
def bare(context: typer.Context, as_json: Json = False) -> None:
    """List the kinds of models (the same as `xai models list`)."""
    if context.invoked_subcommand is None:
        list_models(as_json=as_json, debug=False)


@app.command("list")
@guarded
def list_models(as_json: Json = False, debug: Annotated[bool, Debug] = False) -> None:
    """List the kinds of models and how each is named."""
    from xai.models import list_sources

    sources = list_sources()
    if as_json:
        show_json([asdict(source) for source in sources])
        return
    show_table(["--model", "what it is"], [[source.spec, source.summary] for source in sources])
    say_next("xai doctor MODEL checks that a model can be explained.")
