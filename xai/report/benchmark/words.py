"""What stands under the pictures of a benchmark."""

from xai.stats import Analysis


def plural(number: int, what: str) -> str:
    """`1 image`, `5 images`."""
    return f"{number} {what}{'s' * (number != 1)}"


def count(analysis: Analysis) -> str:
    """Images, groups and exclusions."""
    said = plural(analysis.images, "image")
    if analysis.unit == "group":
        said += f" in {plural(analysis.blocks, 'group')}"
    if analysis.excluded:
        said += f" ({analysis.excluded} excluded)"
    return said


def direction(analysis: Analysis) -> str:
    """Which way the metric points."""
    return "higher is better" if analysis.higher_is_better else "lower is better"


def level(analysis: Analysis) -> str:
    """Confidence level, such as 95 %."""
    return f"{100 * (1 - analysis.alpha):g} %"


def intervals(analysis: Analysis) -> str:
    """How the intervals were made."""
    what = "groups" if analysis.unit == "group" else "images"
    return (
        f"Bars: {level(analysis)} BCa bootstrap intervals of the mean, "
        f"{what} resampled {analysis.resamples} times."
    )
