"""The metrics by name: how one is registered, listed and computed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import isabstract
from typing import Any, TypeVar, get_args

from torch import Tensor, nn

from xai.core import Registry, UsageError
from xai.core.catalogue import Needs
from xai.metrics.base import Curve, MetricInfo, PerturbationMetric, Scores, curve_of, measure
from xai.metrics.context import AnyProtocol, Context, Target, as_stream, make_context
from xai.perturb import Stream

Model = nn.Module | Stream
Function = TypeVar("Function", bound=Callable[..., Any])

_ARGUMENTS = """

    To score several maps by several metrics, `xai.metrics.evaluate` shares what they have in common.

    Args:
        model: A classifier, or a stream around one (which brings its own batch size and seed).
        pixels: (B, 3, H, W), as the classifier takes them.
        relevance: (B, rows, cols) on the patch grid, or (B, H, W) on pixels. A pixel protocol spreads patch
            maps as it says; a patch protocol takes the mean of each patch of a pixel map.
        target: A class, or one per image; None for the predicted class, where the protocol says so.
        protocol: Name, object or mapping, see `xai.metrics.protocol`.
        batch_size: Images per forward pass; by default as `xai.perturb.Stream` chooses.
        seed: Of tie orders, random sets and noise.

    Returns:
        {returns}

    Raises:
        UsageError: For relevance, pixels or targets that do not fit, and steps that the image does not have.
    """


def _enter(foreign: Any) -> str:
    """Register a metric of foreign code, unless its module did."""
    for name, info in METRICS.registered.items():
        if foreign is not None and (foreign is info.function or foreign is type(info.metric)):
            return name
    if not (isinstance(foreign, type) and issubclass(foreign, PerturbationMetric)):
        raise UsageError(
            "is no metric.",
            "Derive a class from xai.metrics.PerturbationMetric, or decorate a function with "
            "@xai.metrics.register(MetricInfo(...)).",
        )
    if not isinstance(getattr(foreign, "info", None), MetricInfo):
        raise UsageError("has no `info`.", "Set it in the class: info = xai.metrics.MetricInfo(...).")
    if isabstract(foreign):
        missing = " and ".join(sorted(foreign.__abstractmethods__))
        raise UsageError(f"does not implement {missing}.", "Write it, or derive from a metric that does.")
    value_function(foreign)
    return foreign.info.name


METRICS: Registry[MetricInfo] = Registry("metric", "xai.metrics", _enter)


def register(info: MetricInfo) -> Callable[[Function], Function]:
    """Decorate the function that computes a metric to enter it in METRICS."""

    def enter(function: Function) -> Function:
        METRICS.add(info.name)(replace(info, function=function))
        return function

    return enter


def curve_function(metric: type[PerturbationMetric]):
    """Register a metric whose value is the area under a curve; a function of one map per image gives it."""
    one = metric()

    def function(
        model: Model,
        pixels: Tensor,
        relevance: Tensor,
        target: Target = None,
        protocol: AnyProtocol = "vit",
        *,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> Curve:
        stream = as_stream(model, batch_size, seed)
        scores, context = _score(one, stream, pixels, relevance, target, protocol)
        return curve_of(scores, context.targets, context.protocol)

    return _named(function, one, "The curve of each image, with the area under it in `auc`.")


def value_function(metric: type[PerturbationMetric]):
    """Register a metric that is one number; a function of one map per image gives it."""
    one = metric()

    def function(
        model: Model,
        pixels: Tensor,
        relevance: Tensor,
        target: Target = None,
        protocol: AnyProtocol = "vit",
        *,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> Tensor:
        stream = as_stream(model, batch_size, seed)
        return _score(one, stream, pixels, relevance, target, protocol)[0].value[0]

    return _named(function, one, "(B,) float64 on the CPU.")


def _named(function: Function, metric: PerturbationMetric, returns: str) -> Function:
    info = metric.info
    better = "A larger value is better." if info.higher_is_better else "A smaller value is better."
    function.__name__ = function.__qualname__ = info.name
    function.__module__ = type(metric).__module__
    function.__doc__ = f"{info.summary} {better}" + _ARGUMENTS.format(returns=returns)
    METRICS.add(info.name)(replace(info, function=function, metric=metric))
    return function


def _score(
    metric: PerturbationMetric,
    stream: Stream,
    pixels: Tensor,
    relevance: Tensor,
    target: Target,
    protocol: AnyProtocol,
) -> tuple[Scores, Context]:
    if not isinstance(relevance, Tensor):
        raise UsageError(f"Relevance must be a tensor; got {type(relevance).__name__}.")
    if relevance.dim() != 3:
        raise UsageError(
            "Relevance must be (B, rows, cols) on patches or (B, H, W) on pixels; "
            f"got {tuple(relevance.shape)}.",
            "Sum or average channels first.",
        )
    maps = relevance[None]
    context = make_context(stream, pixels, maps, target, protocol)
    return measure({"": metric}, stream, maps, context)[""], context


def list_metrics() -> list[MetricInfo]:
    """What is registered: perturbation metrics first, then by what they need and by name."""
    order = get_args(Needs)
    return sorted(METRICS.values(), key=lambda info: (order.index(info.needs), info.name))


def perturbation_metric(name: str) -> PerturbationMetric:
    """The metric of this name.

    Raises:
        UsageError: For unknown names, and for metrics that are not computed from perturbed images.
    """
    info = METRICS[name]
    if info.metric is None:
        raise UsageError(
            f"Metric {name!r} is computed from {info.needs}, not from perturbed images.",
            f"Perturbation metrics: {', '.join(sorted(PERTURBATION_METRICS))}.",
        )
    return info.metric


class _PerturbationMetrics(Mapping[str, PerturbationMetric]):
    """Those of METRICS that are computed from perturbed images, as objects."""

    def __getitem__(self, name: str) -> PerturbationMetric:
        return perturbation_metric(name)

    def __contains__(self, name: object) -> bool:
        return name in METRICS and METRICS[str(name)].metric is not None

    def __iter__(self) -> Iterator[str]:
        return (name for name, info in METRICS.items() if info.metric is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


PERTURBATION_METRICS = _PerturbationMetrics()


def evaluate(
    model: nn.Module | Stream,
    metrics: Sequence[str],
    pixels: Tensor,
    relevance: Tensor,
    targets: Target = None,
    protocol: AnyProtocol = "vit-token",
    *,
    batch_size: int | None = None,
    seed: int = 0,
) -> dict[str, Scores]:
    """Score maps of several methods by several metrics, computing every shared state once.

    Args:
        model: A classifier, or a stream around one (which brings its own batch size and seed).
        metrics: Names of perturbation metrics.
        pixels: (B, 3, H, W), as the classifier takes them.
        relevance: (M, B, rows, cols) on the patch grid, or (M, B, H, W); M methods.
        targets: A class, or one per image; None where the protocol follows the predicted class.
        protocol: Name, object or mapping.
        batch_size: Images per forward pass; by default as `xai.perturb.Stream` chooses.
        seed: Of tie orders, random sets and noise.

    Returns:
        Scores by metric name.

    Raises:
        UsageError: For relevance, pixels or targets that do not fit, unknown names, and steps that the
            image does not have.

    Examples:
        >>> import torch, xai
        >>> from xai.metrics import evaluate
        >>> pixels, relevance = torch.rand(1, 3, 224, 224), torch.rand(2, 1, 14, 14)
        >>> found = evaluate(xai.load("demo"), ["deletion", "srg"], pixels, relevance, protocol="vit-mean")
        >>> found["srg"].value.shape  # methods, images
        torch.Size([2, 1])
        >>> found["deletion"].curve.shape  # and points of the curve
        torch.Size([2, 1, 15])
    """
    chosen = {name: perturbation_metric(name) for name in metrics}
    stream = as_stream(model, batch_size, seed)
    return measure(chosen, stream, relevance, make_context(stream, pixels, relevance, targets, protocol))
