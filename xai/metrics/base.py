"""What every metric says about itself, and where it is found by name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from xai.core import Registry, UsageError

if TYPE_CHECKING:
    from xai.metrics.protocol import Protocol

Needs = Literal["perturbation", "map", "mask", "class", "method"]
Forwards = Callable[[int, "Protocol | None"], int]
Bounds = tuple[float | None, float | None]
Function = TypeVar("Function", bound=Callable[..., Any])


def no_forwards(n_patches: int, protocol: "Protocol | None" = None) -> int:
    """The cost of a metric that only reads the map."""
    return 0


@dataclass(frozen=True)
class MetricInfo:
    """What a metric measures, which way it points and what it costs.

    Args:
        name: Registry name.
        higher_is_better: Direction.
        range: Smallest and largest possible value under the metric's own definition; None where unbounded.
            A curve's area is bounded by its value: [0, 1] only for probability and accuracy.
        reference: Paper, with arXiv id.
        summary: One sentence.
        needs: What it is computed from: "perturbation" (perturbed forwards of the classifier, through the
            stream), "map" (relevance alone), "mask" (relevance and a mask of the truth), "class" (maps of
            two classes), "method" (a callable that explains).
        against_random: Whether a random map's score is what a map must beat; False where a random map is
            extreme by construction, so that beating it says nothing.
        forwards: (n_patches, protocol) → forward passes per image and map when it is computed alone.
        function: What computes it; set by `register`.
    """

    name: str
    higher_is_better: bool
    range: Bounds
    reference: str
    summary: str
    needs: Needs
    against_random: bool = True
    forwards: Forwards = no_forwards
    function: Callable[..., Any] | None = None


def _enter(found: Any) -> str:
    """The name under which a function of foreign code was registered by its module."""
    for name, info in METRICS.registered.items():
        if info.function is not None and info.function is found:
            return name
    raise UsageError(
        "is no registered metric.", "Decorate the function with @xai.metrics.register(MetricInfo(...))."
    )


METRICS: Registry[MetricInfo] = Registry("metric", "xai.metrics", _enter)


def register(info: MetricInfo) -> Callable[[Function], Function]:
    """Decorate the function that computes a metric to enter it in METRICS."""

    def enter(function: Function) -> Function:
        METRICS.add(info.name)(replace(info, function=function))
        return function

    return enter


def list_metrics() -> list[MetricInfo]:
    """What is registered: perturbation metrics first, then by what they need and by name."""
    order = ["perturbation", "map", "mask", "class", "method"]
    return sorted(METRICS.values(), key=lambda info: (order.index(info.needs), info.name))
