"""`xai robustness`: do maps and answers hold when pictures are compressed, resized, uploaded?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xai.cli import options as opt
from xai.cli.output import (
    MISSING,
    PARTLY,
    guarded,
    interrupted,
    progress,
    say,
    say_failures,
    say_next,
    say_nothing_done,
    show,
    show_json,
    show_table,
)

if TYPE_CHECKING:
    from xai.explanation.robustness import Robustness


@guarded
def robustness(
    images: opt.Images,
    *,
    model: opt.ModelOptions,
    target: opt.Target = None,
    method: Annotated[
        str | None,
        typer.Option("--method", help="A method or preset (xai methods).", rich_help_panel=opt.METHOD),
    ] = None,
    seed: opt.Seed = 0,
    out: opt.Out = Path("robustness"),
    box: opt.Box = None,
    boxes: opt.Boxes = None,
    face: opt.FaceOptions,
    pictures: Annotated[
        int,
        typer.Option(
            "--pictures",
            min=0,
            help="Draw so many images' maps, the first.",
            rich_help_panel=opt.OUTPUT,
        ),
    ] = 20,
    lang: opt.Lang = "en",
    as_json: opt.Json = False,
) -> None:
    """Explain images again as JPEG 95 to 50, resized, and uploaded twice: which maps and answers stay?

    Eleven explanations per image. Writes robustness.csv (a line per image and degradation), robustness.json
    and a picture per image. Agreement is measured against maps of other images, with intervals over groups.

    Example: xai robustness faces.csv --config clip.yaml --weights ckpt.pth --method one_pass
    """
    from xai.core.files import check_writable
    from xai.core.language import gettext, ngettext
    from xai.explanation import Explainer, gather
    from xai.explanation.robustness import record_of, write_robustness
    from xai.explanation.robustness import robustness as measure

    crop = opt.parse_crop(box, boxes)
    sources = gather(images, out)
    check_writable(out)
    explainer = Explainer(
        model.load(), method and opt.imported(method), target, batch_size=model.batch_size, seed=seed
    )
    faces = face.finder(explainer.classifier, crop)
    with progress(len(sources), gettext("Explaining")) as step:
        found = measure(explainer, sources, box_of=crop, faces=faces, pictures=pictures, step=step)
    if not found.images:
        say_nothing_done(found.failures, len(sources))
        raise typer.Exit(interrupted() if found.interrupted else MISSING)
    content = write_robustness(found, out)
    if as_json:
        show_json(content)
    else:
        _show(found, record_of(found)["sentences"])
    if faces is not None and (told := faces.found()):
        say(told)
    say_failures(found.failures)
    say(
        ngettext(
            "{n} image explained {times} times. Results: {folder}/",
            "{n} images explained {times} times each. Results: {folder}/",
            len(found.images),
            times=len(found.check.ladder) + 1,
            folder=out,
        )
    )
    say_next(gettext("on the evidence sheet of each image: xai explain IMAGE --report --stability"))
    if found.interrupted:
        say(gettext("Interrupted. What is said is of the images that were done."))
        raise typer.Exit(interrupted())
    if found.failures:
        raise typer.Exit(PARTLY)


def _show(found: "Robustness", sentences: list[str]) -> None:
    from xai.core.language import gettext
    from xai.report.stability import explained, interval_words, reference_words, title, verdict_words

    ladder = {one.name: one for one in found.check.ladder}
    rows = [
        [
            title(ladder[one.degradation]),
            interval_words(one.spearman),
            interval_words(one.overlap),
            interval_words(one.probability, sign=True),
            f"{one.flips}/{one.answered}",
            verdict_words(one.verdict),
        ]
        for one in found.overall
    ]
    header = [gettext("degradation"), gettext("agreement"), gettext("strongest tenth")]
    show_table([*header, gettext("change of probability"), gettext("other class"), gettext("maps")], rows)
    measured = reference_words(found.images, found.check.further)
    show("\n".join(["", *sentences, measured, explained(found.check.ladder)]))
