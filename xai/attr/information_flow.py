"""Attention followed down through the layers, times the integrated gradient of the last attention."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import AttentionCall, Probe, attention_rows, gradient_rows, row_chunks
from xai.attr.base import MethodInfo, PatchAttribution, PatchMaps, Pixels
from xai.attr.batching import arguments_of
from xai.attr.layers import resolve_layers
from xai.attr.recorded_attention import output_gradients
from xai.attr.registry import register
from xai.attr.transformer_blocks import BlockAttribution
from xai.attr.value_projection import watch_transformations
from xai.core.options import check_counts
from xai.core.target import Target, score

RowMaps = Float[Tensor, "targets b rows tokens"]  # targets: 1 where all have the same


class IntegratedFlow(PatchAttribution):
    """`mean_r R[r, ·] ⊙ mean_h (1/n Σ_α ∂y/∂A_Lh(α·x)[r, ·])⁺` over the rows r that the classifier reads.

    Subclasses say how R, the flow from the rows to the tokens, comes about.

    Args:
        forward_func: See `PatchAttribution`.
        n_steps: Points α = 0, …, 1 of the path from the zero image (in normalised space) to the input; one
            step is the input itself.
        start_layer: The lowest layer of the flow, counted from 0 or, if negative, from the end. The default
            is the authors' for 12 layers, scaled to the depth.
        internal_batch_size: Images per forward pass, at least the batch; it does not change the result.
    """

    _start_of_12: ClassVar[int]

    def __init__(
        self,
        forward_func: torch.nn.Module,
        n_steps: int = 20,
        start_layer: int | None = None,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func)
        check_counts(n_steps=n_steps, internal_batch_size=internal_batch_size)
        self.n_steps = n_steps
        self.start_layer = start_layer
        self.internal_batch_size = internal_batch_size

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        probe = self._probe(pixels, args)
        probe.check_chain()
        flow = self._flow(probe, pixels, targets, args)
        maps = flow * self._last_gradient(probe, pixels, targets, args)
        return probe.grid.to_patches(maps.mean(2))

    @abstractmethod
    def _flow(
        self, probe: Probe, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> RowMaps:
        """R in the rows that the classifier reads of the last attention layer."""

    def _trunk(self, probe: Probe) -> range:
        """The layers of the flow, an attention pooling head excluded."""
        depth = probe.layers - probe.pooling
        if self.start_layer is None:
            return range(depth * self._start_of_12 // 12, depth)
        return range(resolve_layers(self.start_layer, depth)[0], depth)

    def _last_gradient(
        self, probe: Probe, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> RowMaps:
        """Positive part of the last attention's gradient, averaged over the path, mean over the heads."""
        dtype = torch.promote_types(pixels.dtype, torch.float32)
        alphas = torch.linspace(1, 0, self.n_steps, dtype=dtype, device=pixels.device)
        chunks = alphas.split(max(1, self.internal_batch_size // len(pixels)))
        total = torch.stack([self._path_sum(probe, pixels, targets, args, a) for a in chunks]).sum(0)
        return (total / self.n_steps).clamp_min_(0).mean(2)

    def _path_sum(
        self, probe: Probe, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...], alphas: Tensor
    ) -> Float[Tensor, "targets b h rows tokens"]:
        """`Σ_α ∂y/∂A(α·x)` of some points of the path, in one forward pass."""
        images = len(pixels)
        scaled = (alphas[:, None, None, None, None] * pixels).flatten(0, 1).to(pixels.dtype)
        more = arguments_of(args, torch.arange(images).repeat(len(alphas)), images)
        logits, (call,) = self._record(probe, scaled, more, [probe.layers - 1], gradients=True)
        wanted = [torch.stack([score(part, t) for part in logits.split(images)]) for t in targets]
        (gradients,) = output_gradients(wanted, [call])
        sums = [
            gradient_rows(call, gradients, rows).unflatten(1, (len(alphas), images)).sum(1)
            for rows in row_chunks(call, probe.rows_of(probe.layers - 1), copies=len(targets))
        ]
        return torch.cat(sums, dim=-2)

    def _read(self, probe: Probe, last: AttentionCall) -> RowMaps:
        """Where the flow starts: 1 at each row that the classifier reads of the last layer."""
        every = torch.eye(last.query.shape[-2], device=last.query.device)
        return every[probe.rows_of(probe.layers - 1)].expand(1, len(last.query), -1, -1)


@register
class TransitionAttentionMaps(IntegratedFlow):
    """Attention as the transitions of a Markov chain, from the class token down to the input tokens.

    The state starts as `s = E_h A_L[r, ·]`; each layer below adds a transition, `s ← s + s · E_h A_l`, down
    to `start_layer`; the map is `s ⊙ E_h (∂y/∂A_L[r, ·])⁺`, the gradient averaged along the path from the
    zero image to the input, as written in `IntegratedFlow`. For a model that mean-pools each patch row r
    starts a state of its own and the maps are averaged; an attention pooling head's own row starts the state.

    Args:
        forward_func: See `PatchAttribution`.
        n_steps: See `IntegratedFlow`; 20 as in the authors' program.
        start_layer: See `IntegratedFlow`; layer 4 of 12.
        internal_batch_size: See `IntegratedFlow`.
    """

    info = MethodInfo(
        name="transition_attention_maps",
        family="attention",
        class_sensitive=True,
        signed=False,
        forwards=21,
        backwards=20,
        reference="Yuan et al. 2021, Explaining Information Flow Inside Vision Transformers Using Markov "
        "Chain, openreview.net/forum?id=TT-cf6QSDaQ",
        summary="Attention as a Markov chain down the layers, times the last attention's path gradient.",
        needs="global_attention",
    )
    _start_of_12 = 4

    def _flow(
        self, probe: Probe, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> RowMaps:
        last = probe.layers - 1
        below = [i for i in self._trunk(probe) if i < last]
        _, calls = self._record(probe, pixels, args, [*below, last], gradients=False)
        state = carry(self._read(probe, calls[-1]), calls[-1])
        for call in reversed(calls[:-1]):
            state = state + carry(state, call)
        return state


class BeyondIntuition(IntegratedFlow):
    """The flow `R = (I + Ā_L) ⋯ (I + Ā_start)`, "attention perception"; only the rows read are carried.

    The other factor, the integrated gradient, is "reasoning feedback".
    """

    def _perceive(
        self,
        probe: Probe,
        calls: Sequence[AttentionCall],
        weights: Sequence[tuple[Tensor | None, Tensor | None]],
    ) -> RowMaps:
        """R from the calls of `_layers` and, for each, the weights of its heads and its tokens, if any."""
        state = self._read(probe, calls[-1])
        for index in reversed(range(len(calls))):
            moved = carry(state, calls[index], *weights[index])
            # the queries of a pooling head are no image tokens, so no residual passes it
            state = moved if probe.pooling and index == len(calls) - 1 else state + moved
        return state

    def _layers(self, probe: Probe) -> list[int]:
        return [*self._trunk(probe), *([probe.layers - 1] if probe.pooling else [])]


@register
class BTHead(BeyondIntuition):
    """Beyond Intuition, head-wise: attention perception with heads weighted by what they do to the score.

    `Ā_l = Σ_h I_lh A_lh` with `I_lh ∝ mean |A_lhᵀ · ∂y/∂A_lh|`, the weights of a layer's heads summing to 1.
    The map is R ⊙ the positive integrated gradient of the last attention, in the class token's row (the mean
    over the patch rows of a model that mean-pools, the own row of an attention pooling head).

    Args:
        forward_func: See `PatchAttribution`.
        n_steps: See `IntegratedFlow`; 20 as in the authors' program.
        start_layer: See `IntegratedFlow`; layer 3 of 12 (the authors' `start_layer=4`, which counts from 1).
        internal_batch_size: See `IntegratedFlow`.
    """

    info = MethodInfo(
        name="bt_head",
        family="attention",
        class_sensitive=True,
        signed=False,
        forwards=21,
        backwards=21,
        reference="Chen et al. 2023, Beyond Intuition: Rethinking Token Attributions inside Transformers, "
        "openreview.net/forum?id=rm0zIzlhcX",
        summary="Attention rolled out with weighted heads, times the last attention's path gradient.",
        needs="global_attention",
    )
    _start_of_12 = 3

    def _flow(
        self, probe: Probe, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> RowMaps:
        logits, calls = self._record(probe, pixels, args, self._layers(probe), gradients=True)
        gradients = output_gradients([score(logits, t) for t in targets], calls)
        heads = [head_weights(c, g) for c, g in zip(calls, gradients, strict=True)]
        return self._perceive(probe, calls, [(weights, None) for weights in heads])


@register
class BTToken(BeyondIntuition, BlockAttribution):
    """Beyond Intuition, token-wise: attention perception with tokens weighted by how they are transformed.

    `Ā_l = E_h A_l · diag(‖v_j W_O‖ / ‖z_j‖)`: z are the tokens that enter layer l, v their values, W_O the
    output projection, without its bias. The map is R ⊙ the positive integrated gradient of the last
    attention, read as in `BTHead`.

    Args:
        forward_func: See `PatchAttribution`.
        n_steps: See `IntegratedFlow`; 20 as in the authors' program.
        start_layer: See `IntegratedFlow`; layer 5 of 12 (the authors' `start_layer=6`, which counts from 1).
        internal_batch_size: See `IntegratedFlow`.
    """

    info = MethodInfo(
        name="bt_token",
        family="attention",
        class_sensitive=True,
        signed=False,
        forwards=21,
        backwards=20,
        reference="Chen et al. 2023, Beyond Intuition: Rethinking Token Attributions inside Transformers, "
        "openreview.net/forum?id=rm0zIzlhcX",
        summary="Attention rolled out with weighted tokens, times the last attention's path gradient.",
        needs="global_attention",
    )
    _start_of_12 = 5

    def _flow(
        self, probe: Probe, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> RowMaps:
        layers, blocks = self._layers(probe), self._find_blocks(pixels, args)
        with watch_transformations(self.model, blocks, probe) as found:
            _, calls = self._record(probe, pixels, args, layers, gradients=False)
        ratios = [found.layers[i].ratio(call) for i, call in zip(layers, calls, strict=True)]
        return self._perceive(probe, calls, [(None, ratio) for ratio in ratios])


def carry(
    state: Float[Tensor, "_ b rows n"],
    call: AttentionCall,
    heads: Float[Tensor, "_ b h"] | None = None,
    tokens: Float[Tensor, "b m"] | None = None,
) -> RowMaps:
    """`state · Σ_h w_h A_h · diag(tokens)`, with w_h = 1 / H by default; A is built in chunks of rows."""
    total: Tensor | None = None
    for chunk in row_chunks(call, slice(None), copies=1 if heads is None else len(heads)):
        attention = attention_rows(call, chunk)
        weights = attention.new_full((1, *attention.shape[:2]), 1 / attention.shape[1])
        weights = weights if heads is None else heads.to(attention.dtype)
        fused = torch.einsum("tbh,bhrm->tbrm", weights, attention)
        part = state[..., chunk].to(fused.dtype) @ fused
        total = part if total is None else total + part
    assert total is not None  # noqa: S101 - a call has at least one row
    return total if tokens is None else total * tokens[:, None].to(total.dtype)


def head_weights(
    call: AttentionCall, gradients: Float[Tensor, "targets b h n e"]
) -> Float[Tensor, "targets b h"]:
    """`mean |A_hᵀ · ∂y/∂A_h|`, summing to 1 over the heads; `Aᵀ · ∂y/∂A = (Aᵀ · ∂y/∂O) · Vᵀ`."""
    drawn: Tensor | None = None
    for chunk in row_chunks(call, slice(None)):
        attention = attention_rows(call, chunk)
        part = attention.transpose(-2, -1) @ gradients[..., chunk, :].to(attention.dtype)
        drawn = part if drawn is None else drawn + part
    assert drawn is not None  # noqa: S101 - a call has at least one row
    step = max(1, drawn.shape[-2] // len(row_chunks(call, slice(None), copies=len(gradients))))
    sizes = [
        gradient_rows(call, drawn, chunk.tolist()).abs().sum((-2, -1))
        for chunk in torch.arange(drawn.shape[-2]).split(step)
    ]
    size = torch.stack(sizes).sum(0)
    return size / size.sum(-1, keepdim=True).clamp_min(torch.finfo(size.dtype).tiny)
