"""Generic attention explainability of Chefer et al.: gradient-weighted attention, rolled out."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from xai.attention import AttentionCall, Probe, Rows, attention_rows, gradient_rows, row_chunks
from xai.attr.base import MethodInfo
from xai.attr.batching import accurate
from xai.attr.recorded_attention import RecordedAttribution, RecordedPass, TokenMaps
from xai.attr.registry import register

WeightedRows = Callable[[int, list[int]], Tensor]  # layer, query rows → (targets, B, R, M)


@register
class Chefer(RecordedAttribution):
    """Gradient-weighted attention followed through all layers and residual connections.

    `Ā_l = E_h (∂y/∂A_l ⊙ A_l)⁺`, `R ← R + Ā_l R` from R = I up to the last layer, without
    normalisation; the map is the row of R that the classifier reads: the class token's, the mean over
    the patch rows of a model that mean-pools, or, for an attention pooling head, the head's own Ā times R.

    As `R = (I + Ā_L) ⋯ (I + Ā_1)`, only that row is carried, from the last layer down: vector-matrix
    products, with a part of one layer's matrix in memory at a time.

    Args:
        forward_func: See `PatchAttribution`.
        rules: As in `Saliency`.
    """

    info = MethodInfo(
        name="chefer",
        family="attention",
        class_sensitive=True,
        signed=False,
        forwards=1,
        backwards=1,
        reference="Chefer et al. 2021, arXiv 2103.15679, eq. 5 and 6",
        summary="Attention times its gradient, clamped and multiplied through all layers and residuals.",
        needs="global_attention",
    )

    def __init__(self, forward_func: nn.Module, rules: str | None = None):
        super().__init__(forward_func)
        self._follow(rules)

    @property
    def every_row(self) -> bool:
        return False  # of the last layer the row that is carried starts from `probe.rows`

    def _tokens(self, record: RecordedPass) -> TokenMaps:
        calls = [record.calls[i] for i in range(record.probe.layers)]

        def weighted(layer: int, queries: list[int]) -> Tensor:
            product = attention_rows(calls[layer], queries)
            product = product * gradient_rows(calls[layer], record.gradients[layer], queries)
            return product.clamp_min_(0).mean(2)

        return roll_out(record.probe, calls, record.targets, weighted)


def roll_out(probe: Probe, calls: Sequence[AttentionCall], targets: int, weighted: WeightedRows) -> TokenMaps:
    """The classifier's row of `(I + Ā_L) ⋯ (I + Ā_1)`.

    Args:
        probe: How the model attends.
        calls: All layers.
        targets: Number of targets.
        weighted: Rows (targets, B, R, M) of a layer's Ā.

    Raises:
        ModelError: The layers are of several towers.
    """
    probe.check_chain()
    layers = list(range(probe.layers))
    query = calls[0].query
    tokens = accurate(query).new_zeros(targets, len(query), probe.grid.tokens)
    rows = list(probe.rows)
    read: Rows = rows

    def step(read_out: Tensor, layer: int, chosen: Rows) -> Tensor:
        products = [
            (read_out[..., None, chunk].to(product.dtype) @ product)[..., 0, :]
            for chunk in row_chunks(calls[layer], chosen, copies=targets)
            for product in [weighted(layer, chunk)]
        ]
        return torch.stack(products).sum(0)

    if probe.pooling:  # its queries are no image tokens, so no residual passes it
        top = layers.pop()
        queries = calls[top].query.shape[-2]
        row = tokens.new_full((*tokens.shape[:2], queries), 1 / queries)
        row, read = step(row, top, slice(None)), slice(None)
    else:
        row = tokens.index_fill(-1, torch.tensor(rows, device=tokens.device), 1 / len(rows))
    for layer in reversed(layers):
        row = row + step(row, layer, read)
        read = slice(None)
    return row
