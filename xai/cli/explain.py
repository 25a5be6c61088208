"""`xai explain` and `xai demo`: images in, pictures, maps and records out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from xai.cli import options as opt
from xai.cli.explain_run import ExplainRun, videos_among, what_is_explained
from xai.cli.output import guarded, probability_text, progress, say, show_table


@guarded
def explain(
    images: opt.ImagesAndVideos,
    *,
    model: opt.ModelOptions,
    video: opt.VideoOptions,
    target: opt.Target = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="xai methods lists them; default --preset faithful, or gradient_weighted_attention where "
            "options of its are given.",
            rich_help_panel=opt.METHOD,
        ),
    ] = None,
    method_config: Annotated[
        Path | None,
        typer.Option(
            "--method-config",
            help="YAML with a method and its options, such as xai tune writes.",
            rich_help_panel=opt.METHOD,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="A method with its options: faithful, one_pass, localisation, script (xai methods).",
            rich_help_panel=opt.METHOD,
        ),
    ] = None,
    layers: opt.Layers = None,
    head_fusion: opt.HeadFusion = None,
    layer_fusion: opt.LayerFusion = None,
    clamp: opt.Clamp = None,
    seed: opt.Seed = 0,
    out: opt.Out = opt.RESULTS,
    box: opt.Box = None,
    boxes: opt.Boxes = None,
    face: opt.FaceOptions,
    pictures: Annotated[
        str,
        typer.Option(
            "--pictures",
            help="all; comparison: the classes compared alone; none: maps and record only.",
            rich_help_panel=opt.OUTPUT,
        ),
    ] = "all",
    folders: Annotated[
        bool | None,
        typer.Option(
            "--folders/--no-folders",
            help="A folder for each image's files; default from 21 images on.",
            rich_help_panel=opt.OUTPUT,
        ),
    ] = None,
    layers_panel: Annotated[
        bool,
        typer.Option("--layers-panel", help="Also one map per layer and preset.", rich_help_panel=opt.OUTPUT),
    ] = False,
    heads_panel: Annotated[
        bool, typer.Option("--heads-panel", help="Also one map per head.", rich_help_panel=opt.OUTPUT)
    ] = False,
    part_removal: Annotated[
        bool | None,
        typer.Option(
            "--part-removal/--no-part-removal",
            help="Where a face's landmarks are known: watch the answer without each of its parts, up to 181 "
            "forward passes an image; default up to 5 images.",
            rich_help_panel="Face",
        ),
    ] = None,
    report: Annotated[
        bool,
        typer.Option(
            "--report", help="Also one interactive HTML page of all images.", rich_help_panel=opt.OUTPUT
        ),
    ] = False,
    stability: opt.Stability = False,
    csv: opt.Csv = None,
    lang: opt.Lang = "en",
    as_json: opt.Json = False,
) -> None:
    """Draw where the evidence for each class lies in images, and in the frames of videos.

    Per image: a picture per class, the classes compared, the raw maps (safetensors) and a JSON record.
    Per video, in a folder: a page, a timeline, a strip of frames, an annotated video, maps, table and record.

    Example: xai explain photos/ --config clip.yaml --weights ckpt.pth --target fake
    """
    from xai.attr import OPTIONS_METHOD
    from xai.core import UsageError
    from xai.core.files import check_writable
    from xai.core.language import gettext
    from xai.explanation import Explainer, explain_each, gather

    if stability and not report:
        raise UsageError("--stability goes on the evidence sheets of the page.", "Add --report.")
    crop = opt.parse_crop(box, boxes)
    found, sampling = gather(images, out), video.sampling()
    videos = videos_among(found)
    if videos and (layers_panel or heads_panel):
        raise UsageError(
            "Panels of layers and heads are drawn of images, not of videos.",
            "Save the frame as an image, or leave out the panels.",
        )
    moving = set(videos)
    sources = [one for one in found if one not in moving]
    if stability and not sources:
        raise UsageError("--stability is of images, and only videos are given.", "Give frames of the video.")
    if csv is not None and not sources:
        raise UsageError(
            "--csv is of images, and only videos are given.", "Each video has a table of its own."
        )
    check_writable(out)
    if csv is not None:
        check_writable(csv, is_file=True)
    name, options = _method(method, method_config, preset, model.trust_code)
    if name is None and (layers_panel or heads_panel):
        name = OPTIONS_METHOD  # which has such maps
    explainer = Explainer(
        model.load(),
        name,
        target,
        batch_size=model.batch_size,
        seed=seed,
        **options | opt.method_options(layers, head_fusion, layer_fusion, clamp),
    )
    faces = face.finder(explainer.classifier, crop)
    builder = None
    if report:
        from xai.explanation import PageBuilder  # which needs much that pictures do not

        builder = PageBuilder(explainer, len(sources), stability)
    run = ExplainRun(
        total=len(found),
        out=out,
        builder=builder,
        as_json=as_json,
        what=what_is_explained(sources, videos),
        seed=seed,
        csv=csv,
    )
    with run.collecting(), progress(len(found), gettext("Explaining")) as step:
        for result in explain_each(
            explainer,
            sources,
            out,
            crop,
            faces=faces,
            pictures=pictures,
            folders=folders,
            layers_panel=layers_panel,
            heads_panel=heads_panel,
            part_removal=part_removal,
        ):
            run.add(result, step)
        if videos:
            from xai.explanation import explain_each_video  # which needs what reads videos

            for result in explain_each_video(
                explainer, videos, out, sampling, box_of=crop, faces=faces, pictures=pictures
            ):
                run.add(result, step)
    run.write_page()
    run.show()
    run.write_tables()
    if faces is not None and (told := faces.found()):
        say(told)
    if report and videos:
        say(gettext("Each video has a page of its own, index.html in its folder: --report is of the images."))
    run.finish(
        gettext("compare methods on one image: xai compare IMAGE")
        if sources or pictures == "none"
        else gettext("open index.html in the folder of a video")
    )


def _method(
    method: str | None, file: Path | None, preset: str | None, trust_code: bool
) -> tuple[str | None, dict[str, Any]]:
    """Name and options of the method that --method, --method-config or --preset names; None: none does."""
    from xai.attr import PRESETS
    from xai.core import UsageError, nearest
    from xai.explanation import read_method_file

    given = {"--method": method, "--method-config": file, "--preset": preset}
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} name a method each.", "Give one of them.")
    if file is not None:
        content = read_method_file(file, trust_code)
        return content.method, content.options
    if preset is not None:
        if preset not in PRESETS:
            raise UsageError(f"There is no preset {preset!r}.", nearest(preset, PRESETS))
        return PRESETS[preset].method, dict(PRESETS[preset].options)
    return method and opt.imported(method), {}


@guarded
def demo(
    out: opt.Out = opt.RESULTS / "demo",
    video: Annotated[
        bool,
        typer.Option(
            "--video", help="A clip instead, made of a shipped photograph, in which a forged region moves."
        ),
    ] = False,
    lang: opt.Lang = "en",
) -> None:
    """Explain the shipped images, pristine and forged, with the shipped detector.

    Needs no network and no files of yours. The forged region is outlined where it is known.
    """
    from xai.core.files import check_writable

    check_writable(out)
    if video:
        demo_video(out)
        return
    from xai.core.language import gettext
    from xai.data import shipped_samples
    from xai.explanation import Explainer, PageBuilder, explain_each
    from xai.models import load

    samples = shipped_samples()
    explainer = Explainer(load("demo"))
    pointed = {True: gettext("yes"), False: gettext("no"), None: ""}

    def row(record: dict[str, Any]) -> list[str]:
        image, hit = record["image"], record["maps"]["fake"].get("points_into_mask")
        chance = probability_text(record["probabilities"]["fake"])
        return [image["id"], image["label"], record["predicted"], chance, pointed[hit]]

    run = ExplainRun(total=len(samples), out=out, builder=PageBuilder(explainer, len(samples)), row=row)
    with run.collecting(), progress(len(samples), gettext("Explaining")) as step:
        for result in explain_each(explainer, samples, out):
            run.add(result, step)
    run.write_page()
    header = [gettext("image"), gettext("true class"), gettext("predicted"), "P(fake)"]
    show_table([*header, gettext("strongest fake evidence in the forged region")], run.rows)
    say(gettext("Pictures and page: {folder}", folder=out.resolve()))
    run.finish(
        gettext("open {page}, then try your own: xai explain IMAGE", page=out / "index.html"),
    )


def demo_video(out: Path) -> None:
    """Make the demo's clip, explain every frame, and say how often the strongest evidence lies in the region.

    Raises:
        UsageError: The extra `video` is not installed.
    """
    import numpy as np

    from xai.core.files import replacing
    from xai.core.language import gettext
    from xai.data import demo_clip
    from xai.explanation import ExplainedVideo, Explainer, explain_each_video
    from xai.models import load
    from xai.video import parse_sampling, require_av, write_mp4

    require_av()
    path, frames = out / "clip.mp4", list(demo_clip())
    with replacing(path) as file:
        end = 2 * frames[-1].seconds - frames[-2].seconds
        write_mp4(file, ((frame.seconds, frame.pixels) for frame in frames), end, fine=True)
    run = ExplainRun(total=1, out=out, what=what_is_explained([], [path]))
    explainer, rows = Explainer(load("demo")), []
    with run.collecting(), progress(len(frames), gettext("Explaining")) as step:
        for result in explain_each_video(explainer, [path], out, parse_sampling("1f"), step=step):
            run.add(result, lambda: None)  # frames are counted, not videos
            if isinstance(result, ExplainedVideo):
                found = result.explanation
                fake = found.logits.argmax(1) == found.labels.index("fake")
                for name, wanted in ((gettext("pristine"), False), (gettext("forged"), True)):
                    places = [i for i, frame in enumerate(frames) if frame.mask.any() == wanted]
                    called = gettext("{n} of {total}", n=int(fake[places].sum()), total=len(places))
                    rows.append([name, called, ""])
                inside = sum(
                    bool(frame.mask.ravel()[np.nanargmax(answer.geometry.project(answer.maps["fake"]))])
                    for frame, answer in zip(frames, found.frames, strict=True)
                )
                rows[-1][-1] = gettext("{n} of {total}", n=inside, total=len(places))
    if rows:
        header = [gettext("frames"), gettext("called fake")]
        show_table([*header, gettext("strongest fake evidence in the forged region")], rows)
        say(gettext("Pictures, annotated video and page: {folder}", folder=(out / "clip").resolve()))
    page = out / "clip" / "index.html"
    run.finish(gettext("open {page}, then try your own: xai explain VIDEO", page=page))
