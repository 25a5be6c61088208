"""How a layer transforms tokens before attention mixes them: their values through the output projection."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xai.attention import AttentionCall, Probe
from xai.attention.intercept import AttentionInterceptor
from xai.attr.batching import accurate
from xai.attr.transformer_blocks import TransformerBlocks, tokens_among, tokens_of
from xai.core import ModelError


@dataclass(frozen=True, eq=False)
class Transformation:
    """What a layer does to each token before attention mixes them.

    Args:
        tokens: (B, N, D), the residual stream that enters the layer, before its norm.
        projection: (D, H·e), the weight of the linear map after attention, all heads side by side.
    """

    tokens: Float[Tensor, "b n d"]
    projection: Float[Tensor, "d he"]

    def ratio(self, call: AttentionCall) -> Float[Tensor, "b n"]:
        """`‖v_j W_O‖ / ‖z_j‖` of the tokens j, over all heads together."""
        after = _values(call).transpose(1, 2).flatten(2) @ accurate(self.projection).T
        return after.norm(dim=-1) / _nonzero(self.length())

    def per_head(self, call: AttentionCall) -> tuple[Float[Tensor, "b h n"], Float[Tensor, "b h n"]]:
        """`‖v_jh W_Oh‖ / ‖z_j‖` and `cos(v_jh W_Oh, z_j)` of the tokens j in each head h."""
        values, before, length = _values(call), accurate(self.tokens), _nonzero(self.length())
        ratios, cosines = [], []
        for head, weight in enumerate(accurate(self.projection).split(values.shape[-1], dim=1)):
            after = values[:, head] @ weight.T
            ratios.append(after.norm(dim=-1) / length)
            cosines.append(F.cosine_similarity(after, before, dim=-1))
        return torch.stack(ratios, dim=1), torch.stack(cosines, dim=1)

    def length(self) -> Float[Tensor, "b n"]:
        """`‖z_j‖` of the tokens j."""
        return accurate(self.tokens).norm(dim=-1)


@dataclass(eq=False)
class Transformations:
    """What one forward pass showed; `layers` are those of the attention calls, once the pass is over."""

    layers: list[Transformation] = field(default_factory=list)


@contextmanager
def watch_transformations(
    model: nn.Module, blocks: TransformerBlocks, probe: Probe
) -> Iterator[Transformations]:
    """Note every layer's transformation in one forward pass run inside the block; the model is not touched.

    To be opened around `record_attention`, which takes `nn.MultiheadAttention` apart.

    A layer's output projection is the linear map that takes the attention call's output as it is. A scale
    after it (LayerScale) is not counted. An attention pooling head's tokens are what the last block returns.

    Args:
        model: The module that will be called.
        blocks: Its blocks.
        probe: How it attends.

    Raises:
        ModelError: After the block, when an attention call had no such projection.
    """
    found, streams = Transformations(), []
    watcher = _ProjectionWatcher(probe.grid.tokens)

    def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        streams.append(tokens_among(args, kwargs, probe.grid.tokens))

    def leave(_m: nn.Module, _i: Any, output: Any) -> None:
        streams.append(tokens_of(output))

    handles: list[Any] = [m.register_forward_pre_hook(enter, with_kwargs=True) for m in blocks.modules]
    handles.append(blocks.modules[-1].register_forward_hook(leave))
    try:
        with watcher:
            yield found
    finally:
        for handle in handles:
            handle.remove()
    pairs = list(zip(streams, watcher.weights, strict=False))[: probe.layers]
    if any(stream is None or weight is None for stream, weight in pairs):
        raise ModelError(
            f"{type(model).__name__} does not pass the output of attention straight to a linear map, so how "
            "its layers transform tokens cannot be told.",
            "Use a method that looks at attention alone, e.g. bt_head or chefer.",
        )
    found.layers = [
        Transformation(s.detach() if blocks.token_axis == 1 else s.detach().transpose(0, 1), weight.detach())
        for s, weight in pairs
        if s is not None and weight is not None
    ]


class _ProjectionWatcher(AttentionInterceptor):
    """Keeps the weight of the linear map that each image attention call's output goes to."""

    def __init__(self, tokens: int):
        super().__init__()
        self.tokens = tokens
        self.weights: list[Tensor | None] = []
        self.joined: Tensor | None = None  # the last call's output, heads side by side, until it is met again

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        output = F.scaled_dot_product_attention(query, key, value, **options)
        if key.shape[-2] == self.tokens:
            self.joined = output.detach().transpose(1, 2).flatten(2)
            self.weights.append(None)
        return output

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear and self.joined is not None:
            given, weight = _input_and_weight(*args, **(kwargs or {}))
            given = given.detach()
            if any(torch.equal(given, joined) for joined in (self.joined, self.joined.transpose(0, 1))):
                self.weights[-1], self.joined = weight, None
        return super().__torch_function__(func, types, args, kwargs)


def _input_and_weight(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Of a call of F.linear, by position or by name."""
    return input, weight


def _values(call: AttentionCall) -> Float[Tensor, "b h n e"]:
    groups = call.query.shape[1] // call.value.shape[1]
    return accurate(call.value).repeat_interleave(groups, dim=1)


def _nonzero(length: Tensor) -> Tensor:
    return length.clamp_min(torch.finfo(length.dtype).tiny)
