"""The video of `xai demo`: made, explained, and compared with what was forged in it."""

from pathlib import Path

from xai.cli.explain_run import ExplainRun, what_is_explained
from xai.cli.output import progress, say, show_table


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
            run.add(result)
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
