"""`xai serve`: a local page on which images are explained and regions of them brushed away."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from xai.cli import options as opt
from xai.cli.output import guarded, say

if TYPE_CHECKING:
    from xai.models import Classifier

PANEL = "Server"


@guarded
def serve(
    *,
    model: opt.ModelOptions,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            help="A further model that the page offers, as for --model, or a detector's YAML; repeatable.",
            rich_help_panel=opt.MODEL,
        ),
    ] = None,
    target: opt.Target = None,
    seed: opt.Seed = 0,
    face: opt.FaceOptions,
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, help="0: any that is free.", rich_help_panel=PANEL),
    ] = 0,
    max_images: Annotated[
        int, typer.Option("--max-images", min=1, help="Held at once.", rich_help_panel=PANEL)
    ] = 50,
    max_megabytes: Annotated[
        int, typer.Option("--max-megabytes", min=1, help="Of one file.", rich_help_panel=PANEL)
    ] = 50,
    max_megapixels: Annotated[
        int,
        typer.Option("--max-megapixels", min=1, help="Of all images held at once.", rich_help_panel=PANEL),
    ] = 400,
    lang: opt.Lang = "en",
) -> None:
    """Serve a page on this machine: drop images, see maps as they come, brush regions away.

    The score without the brushed patches stands beside that without random regions of the same size. Nothing
    leaves the machine, and nothing is kept but what you save. Ctrl-C ends it.

    Example: xai serve --config clip.yaml --weights ckpt.pth
    """
    from xai.serve import Limits, ServeSettings, require_server

    require_server()
    from xai.core.language import gettext
    from xai.serve import PageServer

    settings = ServeSettings(
        target=target, batch_size=model.batch_size, seed=seed, faces=lambda loaded: face.finder(loaded, None)
    )
    limits = Limits(max_images, max_megabytes, max_megapixels)
    server = PageServer(_offered(model, also or []), settings, limits, port)
    say(gettext("Open this address in a browser on this machine; whoever has it can use the page:"))
    say(f"\n  {server.address}\n")
    say(gettext("Ctrl-C ends it. Images are held in memory, and nothing is kept but what you save."))
    server.serve_page()
    say(gettext("Stopped."))


def _offered(model: opt.ModelOptions, also: list[str]) -> "dict[str, Callable[[], Classifier]]":
    """Name → what loads it: the model of the options, further ones, and the shipped detector."""
    from dataclasses import replace

    model.check()
    offered: dict[str, Callable[[], Classifier]] = {model.named: model.load}
    for name in [*also, "demo"]:
        plain = replace(
            model, model=name, config=None, weights=None, prompts=None, problem_type=None, grid=None
        )
        offered.setdefault(name, partial(plain.load))
    return offered
