"""What a page of explanations is called: what was explained, by which model, when, and how it was judged."""

from collections import Counter
from collections.abc import Sequence

from xai.core import ProblemType
from xai.core.errors import printable
from xai.core.language import gettext, listed, ngettext
from xai.report.image_payload import Image
from xai.report.payload import Timeline
from xai.report.text import percent
from xai.report.words import in_order, short

COUNTED = 3  # classes of which a heading says how many images were judged to be of them
SHIPPED = "demo"


def about_page(
    images: Sequence[Image],
    labels: Sequence[str],
    model: object,
    created: str,
    *,
    problem_type: ProblemType = ProblemType.SINGLE_LABEL,
    methods: int = 1,
    timeline: Timeline | None = None,
) -> str:
    """The heading of a page.

    Args:
        images: All that the page shows.
        labels: All class names of the model.
        model: Its name, if it has one.
        created: ISO 8601.
        problem_type: Of independent labels nothing is counted, since an image may have many.
        methods: How many are compared, controls left out.
        timeline: Of a video, whose frames the images are.
    """
    judge, date = model_words(model), created[:10]
    if timeline is not None:
        share = timeline.mean[timeline.predicted]
        return gettext(
            "{name} judged {label} ({share}) by {model}, {date}",
            **_judged(timeline.video, timeline.predicted, share, judge, date),
        )
    if problem_type.independent:
        what = _counted(len(images)) if len(images) != 1 else printable(images[0].name)
        heading = gettext("{images} explained with {model}, {date}", images=what, model=judge, date=date)
    elif len(images) == 1:
        one = images[0]
        judged = _judged(one.name, one.predicted, one.probabilities[one.predicted], judge, date)
        heading = gettext("{name} judged {label} ({share}) by {model}, {date}", **judged)
    else:
        heading = gettext(
            "{images} judged by {model}, {date}: {counts}",
            images=_counted(len(images)),
            model=judge,
            date=date,
            counts=counts(images, labels),
        )
    if methods == 1:
        return heading
    return gettext("{methods} compared. {heading}", methods=_methods(methods), heading=heading)


def model_words(name: object) -> str:
    """A model in words; its own name where it has one."""
    if not name:
        return gettext("the model")
    return gettext("the shipped detector") if name == SHIPPED else short(str(name))


def counts(images: Sequence[Image], labels: Sequence[str]) -> str:
    """`5 fake and 11 real`: how many images were judged to be of each class; of many, the most frequent."""
    found = Counter(image.predicted for image in images)
    if len(labels) == 2:
        named = [(label, found[label]) for label in in_order(labels, 2)]
    else:
        named = found.most_common(COUNTED)
    rest = len(images) - sum(count for _, count in named)
    said = [gettext("{n} {label}", n=count, label=short(label)) for label, count in named]
    return listed([*said, gettext("{n} others", n=rest)] if rest else said)


def _judged(name: str, label: str, share: float, model: str, date: str) -> dict[str, str]:
    said = {"name": printable(name), "label": short(label), "share": percent(share)}
    return said | {"model": model, "date": date}


def _counted(images: int) -> str:
    return ngettext("{n} image", "{n} images", images)


def _methods(count: int) -> str:
    return ngettext("{n} method", "{n} methods", count)
