"""See every attention of a pass, fused or computed by softmax and a product with the values.

`AttentionInterceptor` sees fused calls over (batch, heads, tokens, channels). Windowed and hierarchical
models call them with windows in an axis of their own, and many compute `softmax(…) @ values` themselves. A
softmax over the last axis is followed through what changes its layout or entries (dropout, casts, views, a
mixing of heads) until it is multiplied with values. What is multiplied is the attention A of that layer.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from xai.attention.intercept import AttentionInterceptor, refuse_dropped, without_traces
from xai.attention.record import AttentionCall

_SOFTMAX = {torch.softmax, Tensor.softmax, F.softmax, torch.special.softmax}
_PRODUCT = {torch.matmul, Tensor.matmul, torch.bmm, Tensor.bmm}
_TRANSPOSE = {torch.transpose, Tensor.transpose, torch.swapaxes, Tensor.swapaxes}
_PERMUTE = {torch.permute, Tensor.permute}
_MIRROR = Tensor.mT.__get__  # pyrefly: ignore[missing-attribute]


@dataclass(frozen=True, eq=False)
class Attending:
    """One attention of a pass, as it is about to be computed.

    Args:
        value: (…, M, e), in the graph of the pass.
        output: Computes (…, N, e) from such values.
        record: What to keep of it, given the output.
        inputs: What it is computed from, in the graph: query, key and value, or A and value.
        weights: (…, N, M) A, in the graph, where the model computes it in the open.
    """

    value: Tensor
    output: Callable[[Tensor], Tensor]
    record: Callable[[Tensor], AttentionCall]
    inputs: tuple[Tensor, ...]
    weights: Tensor | None = None


class EveryAttention(AttentionInterceptor):
    """Hands every attention inside the `with` block to `meet`, whatever its axes and implementation."""

    def __init__(self) -> None:
        super().__init__()
        self._keys = WeakTensorKeyDictionary()  # softmax weights, and what came of them -> axis of the keys

    @abstractmethod
    def meet(self, attending: Attending) -> Tensor:
        """Stand in for one attention; returns its output (…, N, e)."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        scale = options.get("scale")
        options["attn_mask"] = without_traces(options.get("attn_mask"), query, key, scale)

        def record(output: Tensor) -> AttentionCall:
            return AttentionCall(
                query=query.detach(),
                key=key.detach(),
                value=value.detach(),
                output=output,
                mask=options["attn_mask"],
                scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
                is_causal=bool(options.get("is_causal", False)),
            )

        def output(values: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(query, key, values, **options)

        return self.meet(Attending(value, output, record, (query, key, value)))

    def check_axes(self, query: Tensor) -> None:
        """Any number of axes will do."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _SOFTMAX:
            output = func(*args, **kwargs)
            axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if output.dim() > 2 and axis in (-1, output.dim() - 1):
                self._keys[output] = output.dim() - 1
            return output
        if func in (F.scaled_dot_product_attention, F.multi_head_attention_forward) or not self._keys:
            return super().__torch_function__(func, types, args, kwargs)
        if func is torch.einsum:
            return self._einsum(args)
        given = next(
            (x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x in self._keys), None
        )
        if given is None:
            return func(*args, **kwargs)
        if func is F.dropout:
            _refuse_dropout(*args, **kwargs)
        product = self._product(func, *args) if func in _PRODUCT and len(args) == 2 else None
        if product is not None:
            return product
        output = func(*args, **kwargs)
        if isinstance(output, Tensor):
            axis = _keys_after(func, args, kwargs, given, output, self._keys[given])
            if axis is not None:
                self._keys[output] = axis
        return output

    def _product(self, func: Any, left: Tensor, right: Tensor) -> Tensor | None:
        """Weights times values; None of another product, such as one that mixes heads."""
        if self._keys.get(left) == left.dim() - 1 and right.dim() > 2:
            return self._weighted(left, right, lambda value: func(left, value))
        if self._keys.get(right) == right.dim() - 2 and left.dim() > 2:  # Vᵀ Aᵀ: channels before tokens
            return self._weighted(
                right.transpose(-2, -1),
                left.transpose(-2, -1),
                lambda value: func(value.transpose(-2, -1), right).transpose(-2, -1),
            ).transpose(-2, -1)
        return None

    def _einsum(self, args: Any) -> Tensor:
        """A product in Einstein's notation, brought to (…, N, M) times (…, M, e)."""
        equation, *given = args
        operands = list(given[0]) if len(given) == 1 and isinstance(given[0], list | tuple) else given
        side = next((i for i, x in enumerate(operands) if isinstance(x, Tensor) and x in self._keys), None)
        plan = None
        if side is not None and len(operands) == 2 and isinstance(equation, str):
            plan = _einsum_plan(equation, side, self._keys[operands[side]])
        if side is None or plan is None:
            return torch.einsum(equation, *operands)
        of_weights, of_value, of_output = plan
        weights = operands[side].permute(of_weights)
        value = operands[1 - side].permute(of_value)
        return self._weighted(weights, value, lambda v: torch.matmul(weights, v)).permute(of_output)

    def _weighted(self, weights: Tensor, value: Tensor, output: Callable[[Tensor], Tensor]) -> Tensor:
        def record(result: Tensor) -> AttentionCall:
            return AttentionCall(
                query=result.detach(),
                key=value.detach(),
                value=value.detach(),
                output=result,
                mask=None,
                scale=1.0,
                is_causal=False,
                weights=weights.detach(),
            )

        return self.meet(Attending(value, output, record, (weights, value), weights))


def _refuse_dropout(weights: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> None:
    """As `torch.nn.functional.dropout` is called."""
    if training and p:
        refuse_dropped(p)


def _keys_after(func: Any, args: Any, kwargs: Any, given: Tensor, output: Tensor, axis: int) -> int | None:
    """The axis of the keys in what came of attention weights; None where they are that no more."""
    if func in _TRANSPOSE:
        order = list(range(given.dim()))
        first, second = (i % given.dim() for i in (*args[1:], *kwargs.values()))
        order[first], order[second] = second, first
        return order.index(axis)
    if func in _PERMUTE:
        dims = kwargs.get("dims") or (args[1] if len(args) == 2 else args[1:])
        return [i % given.dim() for i in dims].index(axis)
    if func == _MIRROR:
        return {given.dim() - 1: given.dim() - 2, given.dim() - 2: given.dim() - 1}.get(axis, axis)
    if output.shape == given.shape:
        return axis
    last = axis == given.dim() - 1 and output.shape[-1:] == given.shape[-1:]
    return output.dim() - 1 if last and output.numel() == given.numel() else None


def _einsum_plan(equation: str, side: int, axis: int) -> tuple[list[int], list[int], list[int]] | None:
    """How to permute the weights (operand `side`), values and product; None where it is no plain one."""
    terms, arrow, out = equation.replace(" ", "").partition("->")
    both = terms.split(",")
    if not arrow or "." in equation or len(both) != 2 or axis >= len(both[side]):
        return None
    weights, value = both[side], both[1 - side]
    key = weights[axis]
    shared = [x for x in weights if x in value and x != key]
    queries = [x for x in weights if x not in value]
    channels = [x for x in value if x not in weights]
    if key not in value or key in out or len(queries) != 1 or len(channels) != 1:
        return None
    product = [*shared, *queries, *channels]
    if sorted(product) != sorted(out):
        return None
    return (
        [weights.index(x) for x in (*shared, *queries, key)],
        [value.index(x) for x in (*shared, key, *channels)],
        [product.index(x) for x in out],
    )
