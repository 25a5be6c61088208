"""`xai compare`: several methods on the same images, in one picture."""

from typing import Annotated, Any

import typer

from xai.cli import options as opt
from xai.cli.output import (
    MISSING,
    PARTLY,
    guarded,
    say,
    say_failures,
    say_next,
    say_nothing_done,
    show_json,
    show_table,
    write_page,
)


@guarded
def compare(
    images: opt.Images,
    *,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="Comma list of methods and presets (xai methods). Default what xai explain draws, then "
            "gradient_weighted_attention, attention_rollout, integrated_gradients.",
            rich_help_panel=opt.METHOD,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            help="One class or contrast; default what the first image is taken for.",
            rich_help_panel=opt.METHOD,
        ),
    ] = None,
    layers: opt.Layers = None,
    model: opt.ModelOptions,
    seed: opt.Seed = 0,
    out: opt.Out = opt.RESULTS,
    box: opt.Box = None,
    boxes: opt.Boxes = None,
    face: opt.FaceOptions,
    report: Annotated[
        bool, typer.Option("--report", help="Also one interactive HTML page.", rich_help_panel=opt.OUTPUT)
    ] = False,
    csv: opt.Csv = None,
    lang: opt.Lang = "en",
    as_json: opt.Json = False,
) -> None:
    """Draw several methods side by side, one row per image: method_panel.png, its maps and a JSON record.

    --layers goes to the methods that take it. Each method is drawn on its own scale: units differ.
    """
    from xai.core.files import check_writable
    from xai.core.language import gettext, ngettext
    from xai.explanation import compare_methods, gather, methods_with_options, write_comparison

    check_writable(out)
    if csv is not None:
        check_writable(csv, is_file=True)
    classifier = model.load()
    named = (
        None
        if methods is None
        else [opt.imported(one) for name in methods.split(",") if (one := name.strip())]
    )
    options = methods_with_options(classifier, named, opt.method_options(layers), seed)
    crop = opt.parse_crop(box, boxes)
    faces = face.finder(classifier, crop)
    sources = gather(images, out)
    comparison = compare_methods(
        classifier,
        options,
        sources,
        target,
        box_of=crop,
        faces=faces,
        batch_size=model.batch_size,
        seed=seed,
    )
    if not comparison.rows:
        say_nothing_done(comparison.failures, len(sources))
        raise typer.Exit(MISSING)
    content = write_comparison(comparison, out)
    opened = out / content["files"]["png"]
    if csv is not None:
        comparison.to_csv(csv)
    if report:
        from xai.explanation import page_of_comparison

        opened = write_page(page_of_comparison(comparison, classifier), out)
    if as_json:
        show_json(content)
    else:
        rows = [
            [
                record["image"]["id"],
                method,
                record["preset"] or "",
                record["method"]["name"],
                *_strongest(record, comparison.label),
            ]
            for row in content["images"]
            for method, record in row.items()
        ]
        header = [gettext("image"), gettext("map"), gettext("preset"), gettext("method")]
        show_table([*header, gettext("strongest row"), gettext("column"), ""], rows)
    if faces is not None and (found := faces.found()):
        say(found)
    say_failures(comparison.failures)
    counts = [
        ngettext("{n} image", "{n} images", len(comparison.rows)),
        ngettext("{n} method", "{n} methods", len(options)),
        gettext("class {name}", name=comparison.label),
    ]
    say(gettext("{counts}.", counts=gettext(", ").join(counts)))
    say_next(gettext("open {path}", path=opened))
    if comparison.failures:
        raise typer.Exit(PARTLY)


def _strongest(record: dict[str, Any], label: str) -> list[str]:
    from xai.core.language import gettext

    row, col = record["maps"][label]["strongest_patch"]
    return [str(row), str(col), gettext("; ").join(record["warnings"])]
