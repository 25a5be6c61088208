"""Names of methods and the sentences that several figures share."""

from collections.abc import Collection, Iterable
from math import isfinite

from xai.core.errors import printable
from xai.core.language import gettext, ngettext
from xai.report.figures.description import NamedRow
from xai.report.text import shorten
from xai.stats import Analysis, MethodSummary

LONGEST_NAME = 42  # characters


def named_rows(methods: Iterable[str], controls: Collection[str] = ()) -> dict[str, NamedRow]:
    """Method → what it is called in a figure: on one line, not too long, and unlike all others."""
    rows: dict[str, NamedRow] = {}
    used: set[str] = set()
    for method in methods:
        name = shorten(printable(method), LONGEST_NAME)
        same, number = name, 1
        while name in used:
            number += 1
            name = f"{same} ({number})"
        used.add(name)
        control = method in controls
        rows[method] = NamedRow(gettext("{name} (control)", name=name) if control else name, control)
    return rows


def scored(analysis: Analysis) -> list[MethodSummary]:
    """The methods that have a mean, best mean rank first."""
    return [method for method in analysis.ranked if isfinite(method.mean)]


def controls_of(methods: Iterable[MethodSummary]) -> set[str]:
    """Names of the controls among them."""
    return {method.name for method in methods if method.control}


def image_count(analysis: Analysis) -> str:
    """Images, groups and exclusions."""
    images = ngettext("{n} image", "{n} images", analysis.images)
    if analysis.unit == "group":
        groups = ngettext("{n} group", "{n} groups", analysis.blocks)
        images = gettext("{images} in {groups}", images=images, groups=groups)
    if analysis.excluded:
        images = gettext("{images} ({n} excluded)", images=images, n=analysis.excluded)
    return images


def direction(higher_is_better: bool) -> str:
    """Which way a metric points."""
    return gettext("higher is better") if higher_is_better else gettext("lower is better")


def level(analysis: Analysis) -> str:
    """Confidence level, such as 95 %."""
    return f"{100 * (1 - analysis.alpha):g} %"
