"""The perturbation metrics as functions of one map per image.

All take the same arguments:

    model: A classifier, or a stream around one (which brings its own batch size and seed).
    pixels: (B, 3, H, W), as the classifier takes them.
    relevance: (B, rows, cols) on the patch grid, or (B, H, W) on pixels. A pixel protocol spreads patch
        maps as it says; a patch protocol takes the mean of each patch of a pixel map.
    target: A class, or one per image; None for the predicted class, where the protocol says so.
    protocol: Name, object or mapping (see `xai.metrics.protocol`).
    batch_size: Images per forward pass.
    seed: Of tie orders, random sets and noise.

To score several methods by several metrics, `xai.metrics.evaluate` shares what they have in common.
"""

from torch import Tensor, nn

from xai.core import UsageError
from xai.metrics.base import register
from xai.metrics.correlation import FaithfulnessCorrelation
from xai.metrics.curve import Curve, curve_of
from xai.metrics.curves import SRG, Comprehensiveness, Deletion, Insertion, LeRF, MoRF, Sufficiency
from xai.metrics.evaluate import AnyProtocol, Target, as_stream, run
from xai.metrics.saco import SaCo
from xai.perturb import Stream

Model = nn.Module | Stream


@register(Deletion.info)
def deletion(
    model: Model,
    pixels: Tensor,
    relevance: Tensor,
    target: Target = None,
    protocol: AnyProtocol = "vit",
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Curve:
    """Remove the most relevant units step by step; a smaller area is better."""
    return _curve("deletion", as_stream(model, batch_size, seed), pixels, relevance, target, protocol)


@register(Insertion.info)
def insertion(
    model: Model,
    pixels: Tensor,
    relevance: Tensor,
    target: Target = None,
    protocol: AnyProtocol = "vit",
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Curve:
    """Remove everything and put the most relevant units back step by step; a larger area is better.

    The curve's fractions are the shares of units put back.
    """
    return _curve("insertion", as_stream(model, batch_size, seed), pixels, relevance, target, protocol)


@register(MoRF.info)
def morf(
    model: Model,
    pixels: Tensor,
    relevance: Tensor,
    target: Target = None,
    protocol: AnyProtocol = "vit",
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Curve:
    """Most relevant first: the same as deletion."""
    return _curve("morf", as_stream(model, batch_size, seed), pixels, relevance, target, protocol)


@register(LeRF.info)
def lerf(
    model: Model,
    pixels: Tensor,
    relevance: Tensor,
    target: Target = None,
    protocol: AnyProtocol = "vit",
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Curve:
    """Remove the least relevant units step by step; a larger area is better."""
    return _curve("lerf", as_stream(model, batch_size, seed), pixels, relevance, target, protocol)


@register(SRG.info)
def srg(
    model: Model,
    pixels: Tensor,
    relevance: Tensor,
    target: Target = None,
    protocol: AnyProtocol = "vit",
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Tensor:
    """(B,) LeRF area − MoRF area; larger is better."""
    return _value("srg", as_stream(model, batch_size, seed), pixels, relevance, target, protocol)


@register(Comprehensiveness.info)
def comprehensiveness(
    model: Model,
    pixels: Tensor,
    relevance: Tensor,
    target: Target = None,
    protocol: AnyProtocol = "vit",
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Tensor:
    """(B,) mean drop without the most relevant units, up to half of all; larger is better."""
    return _value(
        "comprehensiveness", as_stream(model, batch_size, seed), pixels, relevance, target, protocol
    )


@register(Sufficiency.info)
def sufficiency(
    model: Model,
    pixels: Tensor,
    relevance: Tensor,
    target: Target = None,
    protocol: AnyProtocol = "vit",
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Tensor:
    """(B,) mean drop with only the most relevant units, up to half of all; smaller is better."""
    return _value("sufficiency", as_stream(model, batch_size, seed), pixels, relevance, target, protocol)


@register(SaCo.info)
def saco(
    model: Model,
    pixels: Tensor,
    relevance: Tensor,
    target: Target = None,
    protocol: AnyProtocol = "vit",
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Tensor:
    """(B,) salience-guided faithfulness coefficient in [−1, 1]; larger is better."""
    return _value("saco", as_stream(model, batch_size, seed), pixels, relevance, target, protocol)


@register(FaithfulnessCorrelation.info)
def faithfulness_correlation(
    model: Model,
    pixels: Tensor,
    relevance: Tensor,
    target: Target = None,
    protocol: AnyProtocol = "vit",
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Tensor:
    """(B,) correlation of summed relevance and drop over random sets of patches; larger is better."""
    stream = as_stream(model, batch_size, seed)
    return _value("faithfulness_correlation", stream, pixels, relevance, target, protocol)


def _curve(
    name: str, stream: Stream, pixels: Tensor, relevance: Tensor, target: Target, protocol: AnyProtocol
) -> Curve:
    scores, context = run(stream, [name], pixels, _one_method(relevance), target, protocol)
    return curve_of(scores[name], context.targets, context.protocol)


def _value(
    name: str, stream: Stream, pixels: Tensor, relevance: Tensor, target: Target, protocol: AnyProtocol
) -> Tensor:
    scores, _ = run(stream, [name], pixels, _one_method(relevance), target, protocol)
    return scores[name].value[0]


def _one_method(relevance: Tensor) -> Tensor:
    """(B, rows, cols) → (1, B, rows, cols)."""
    if not isinstance(relevance, Tensor):
        raise UsageError(f"Relevance must be a tensor; got {type(relevance).__name__}.")
    if relevance.dim() != 3:
        raise UsageError(
            "Relevance must be (B, rows, cols) on patches or (B, H, W) on pixels; "
            f"got {tuple(relevance.shape)}.",
            "Sum or average channels first.",
        )
    return relevance[None]
