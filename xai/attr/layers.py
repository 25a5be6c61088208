"""Which attention layers a map is made of, and how the maps of layers and heads become one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from xai.core import UsageError, nearest

Fusion = Callable[[Tensor, int], Tensor]


def _product(x: Tensor, dim: int) -> Tensor:
    # relevance is small: a dozen factors underflow in single precision
    return x.double().prod(dim).to(x.dtype)


HEAD_FUSIONS: dict[str, Fusion] = {"mean": torch.mean, "max": torch.amax, "min": torch.amin}
LAYER_FUSIONS: dict[str, Fusion] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "max": torch.amax,
    "product": _product,
}

LAYER_PRESETS: dict[str, tuple[int, ...] | None] = {
    "last_layer": (-1,),
    "last_2_layers": (-2, -1),
    "last_4_layers": (-4, -3, -2, -1),
    "spaced_layers": (-6, -4, -2),
    "all_layers": None,
}

Layers = str | int | Sequence[int]


def resolve_layers(layers: Layers, depth: int) -> list[int]:
    """Layer indices ≥ 0 in ascending order for a preset name, an index or several (negative allowed).

    Raises:
        UsageError: For an unknown preset, no layer, a repeated one, or one that the model does not have.
    """
    if isinstance(layers, str):
        if layers not in LAYER_PRESETS:
            raise UsageError(f"Unknown layer preset {layers!r}.", nearest(layers, LAYER_PRESETS))
        indices = LAYER_PRESETS[layers] or range(depth)
    else:
        indices = [layers] if isinstance(layers, int) else list(layers)
    outside = [i for i in indices if not -depth <= i < depth]
    if outside or not indices:
        raise UsageError(
            f"Layers {layers!r} were asked for, but the model has {depth} attention layers.",
            f"Valid: indices {-depth} … {depth - 1}, or a preset that needs no more than {depth} layers.",
        )
    resolved = sorted(i % depth for i in indices)
    if len(set(resolved)) < len(resolved):
        raise UsageError(f"Layers {layers!r} name a layer of this {depth}-layer model twice.")
    return resolved


def without_layers(method: object, hook: str) -> UsageError:
    """The error of a method that says `layers=True` and does not write the function that makes their maps."""
    return UsageError(
        f"{type(method).__name__} says that it has maps of layers and heads, and makes none.",
        f"Write its {hook}, or say layers=False in its info.",
    )


def presets_of(depth: int) -> dict[str, list[int]]:
    """The layers of each preset that a model of `depth` attention layers is deep enough for."""
    return {
        preset: resolve_layers(preset, depth)
        for preset, indices in LAYER_PRESETS.items()
        if indices is None or -min(indices) <= depth
    }


def stack_layers(
    maps: Sequence[Float[Tensor, "*batch _ rows cols"]],
) -> Float[Tensor, "*batch layers heads rows cols"]:
    """The maps of layers as one array.

    Raises:
        UsageError: They have unlike numbers of heads, as the stages of a hierarchical model do.
    """
    heads = [one.shape[-3] for one in maps]
    if len(set(heads)) > 1:
        raise UsageError(
            f"The layers have unlike numbers of heads ({', '.join(map(str, heads))}), so there is no one "
            "array of maps per layer and head.",
            "Ask for layers of one stage, e.g. layers='last_layer', or for a list: attribute_each_layer.",
        )
    return torch.stack(list(maps), dim=-4)


@dataclass(frozen=True)
class LayerFusion:
    """How maps per layer and head become one: heads are fused first, then layers.

    Args:
        layers: Those that the map is made of, as `resolve_layers` takes them.
        head_fusion: "sum", or a name of `HEAD_FUSIONS`.
        layer_fusion: A name of `LAYER_FUSIONS`.
        clamp: Where negative relevance is dropped: None nowhere; "fused", after all fusions; "heads", in each
            head before any.
    """

    layers: Layers = "all_layers"
    head_fusion: str = "sum"
    layer_fusion: str = "sum"
    clamp: str | None = None

    def fuse(self, maps: Float[Tensor, "*batch layers heads rows cols"]) -> Float[Tensor, "*batch rows cols"]:
        """The map that some layers make, whichever they are."""
        return self.fuse_each(maps.unbind(-4))

    def fuse_each(
        self, maps: Sequence[Float[Tensor, "*batch _ rows cols"]]
    ) -> Float[Tensor, "*batch rows cols"]:
        """`fuse` of layers that may have unlike numbers of heads."""
        clamped = [one.clamp_min(0) if self.clamp == "heads" else one for one in maps]
        fuse_heads = (HEAD_FUSIONS | {"sum": torch.sum})[self.head_fusion]
        by_layer = torch.stack([fuse_heads(one, -3) for one in clamped], dim=-3)
        fused = LAYER_FUSIONS[self.layer_fusion](by_layer, -3)
        return fused.clamp_min(0) if self.clamp == "fused" else fused
