"""What methods and metrics say of themselves: this package's own without torch, others once imported."""

from collections.abc import Mapping
from typing import Any

from xai.core.catalogue import MethodInfo, MetricFacts, catalogue


def method_info(name: str) -> MethodInfo | None:
    """What a method says of itself; None if there is none of this name."""
    own = catalogue().methods.get(name)
    if own is not None:
        return own
    from xai.attr import METHODS  # imports torch, which a run of our own methods need not wait for

    return METHODS[name].info if name in METHODS else None


def preset_of(method: str, options: Mapping[str, Any]) -> str | None:
    """The preset that a method with these options is, see `xai.attr.preset_of`; presets are of our own."""
    wanted = {**catalogue().options.get(method, {}), **options}
    presets = catalogue().presets.items()
    return next((name for name, preset in presets if preset == (method, wanted)), None)


def metric_facts(name: str) -> MetricFacts:
    """What a metric says of itself.

    Raises:
        UsageError: There is none of this name.
    """
    own = catalogue().metrics.get(name)
    if own is not None:
        return own
    from xai.metrics import METRICS  # imports torch

    return METRICS[name]


def metric_names() -> list[str]:
    """All that there are, those of other code too."""
    from xai.metrics import METRICS  # imports torch

    return list(METRICS)


def is_metric(name: str) -> bool:
    """Whether there is a metric of this name."""
    if name in catalogue().metrics:
        return True
    from xai.metrics import METRICS  # imports torch

    return name in METRICS
