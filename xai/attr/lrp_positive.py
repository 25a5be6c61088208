"""Propagation rules of Chefer et al.: the backward pass carries relevance itself."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.attention import AttentionCall, attention_rows, row_chunks
from xai.attr.batching import accurate
from xai.attr.lrp_calls import changes_its_input, name_of
from xai.attr.lrp_rules import RuledPass, is_data, leaves, owned, require_constant
from xai.core import ModelError

_SMALL = 1e-9
_CASTS = {"to", "type", "type_as", "float", "double", "half", "bfloat16"}


class RelevanceRules(RuledPass):
    """Operations whose backward pass takes the relevance of the output and gives that of the inputs.

    The rules divide by small numbers, so all of it is computed at least in single precision, casts of the
    model notwithstanding, if the pixels are.

    Args:
        batch: Number of images.
        tokens: Number of keys by which image attention is told from other attention.
    """

    def __init__(self, batch: int, tokens: int):
        super().__init__()
        self.batch, self.tokens = batch, tokens
        self.outputs: list[Tensor] = []  # of image attention, (B, H, N, e) by layer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(is_data(x) for x in leaves((args, kwargs))):  # weights as accurate as the features
            if changes_its_input(name_of(func)) and _accurately(args[0]) is not args[0]:
                raise ModelError(
                    f"The model writes its features into a tensor of {args[0].dtype} ({name_of(func)!r}), "
                    "which cannot be followed in single precision.",
                    "Load it in float32.",
                )
            args, kwargs = _accurately(args), _accurately(kwargs)
        return super().__torch_function__(func, types, args, kwargs)

    def structure(self, func: Any, args: Any, kwargs: Any) -> Any:
        return args[0] if func.__name__ in _CASTS else super().structure(func, args, kwargs)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        mask, scale = options.get("attn_mask"), options.get("scale")
        if is_data(mask):
            raise ModelError("The attention mask depends on the image: no propagation rule is known.")
        call = AttentionCall(
            query=query.detach(),
            key=key.detach(),
            value=value.detach(),
            output=F.scaled_dot_product_attention(query, key, value, **options).detach(),
            mask=mask,
            scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
            is_causal=bool(options.get("is_causal", False)),
        )
        output = _Attention.apply(query, key, value, call)
        if key.shape[-2] == self.tokens:
            self.outputs.append(output)
        return output.clone()  # the model may write over its own

    def weighted(self, apply: Any, x: Tensor, weight: Tensor, bias: Tensor | None, func: Any) -> Tensor:
        require_constant(bias, "bias of a linear layer")
        return _Split.apply(lambda y: apply(y, weight, bias), _positive(apply, weight), 1.0, x)

    def scaled(self, func: Any, args: Any, kwargs: Any, x: Tensor) -> Tensor:
        if "mat" not in func.__name__ and func.__name__ not in ("bmm", "mm", "mv", "einsum"):
            return self._passed(func, args, kwargs, x)
        if sum(isinstance(y, Tensor) for y in _flat(args)) > 2:
            raise ModelError(f"{func.__name__!r} multiplies features by several tensors: no rule is known.")
        # a linear layer in other words
        at = next(i for i, y in enumerate(_flat(args)) if y is x)
        others = _flat(args)
        place = next(i for i, y in enumerate(others) if isinstance(y, Tensor) and i != at)

        def apply(features: Tensor, matrix: Tensor) -> Tensor:
            given = list(others)
            given[at], given[place] = features, matrix
            return func(*given, **kwargs)

        return self.weighted(lambda y, w, _=None: apply(y, w), x, others[place], None, func)

    def bilinear(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        given = _flat(args)
        places = [i for i, y in enumerate(given) if is_data(y)]

        def run(*features: Tensor) -> Tensor:
            whole = list(given)
            for place, x in zip(places, features, strict=True):
                whole[place] = x
            return func(*whole, **kwargs)

        return _Split.apply(run, run, 0.5, *(given[i] for i in places))

    def add(self, func: Any, a: Tensor, b: Tensor) -> Tensor:
        axis = 0 if a.shape[0] == self.batch else 1  # some models put tokens first
        return _Add.apply(a, b, func, axis)

    def affine(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        def run(x: Tensor) -> Tensor:
            return func(x, *args[1:], **kwargs)

        return _Split.apply(run, run, 1.0, args[0])

    def elementwise(self, root: Tensor, value: Tensor) -> Tensor:
        return _Pass.apply(root, value)

    def shifted(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        return self._passed(func, args, kwargs, next(x for x in args if is_data(x)))

    def softmax(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        return self._passed(func, args, kwargs, args[0])

    def norm(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        for parameter in leaves([args[1:], kwargs]):
            require_constant(parameter, f"parameter of {func.__name__!r}")
        return self._passed(func, args, kwargs, args[0])

    def _passed(self, func: Any, args: Any, kwargs: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            value = accurate(func(*args, **kwargs))
        return _Pass.apply(x, value)


def divide(relevance: Tensor, by: Tensor) -> Tensor:
    """Relevance over value; 0 where the value is 0, and values nearer to 0 than 1e-9 count as that."""
    away = torch.where(by.abs() < _SMALL, _SMALL * by.sign(), by)
    return torch.where(by == 0, 0, relevance / torch.where(by == 0, 1, away))


def _positive(apply: Callable[..., Tensor], weight: Tensor) -> Callable[[Tensor], Tensor]:
    """The sum of the positive contributions of a linear map, `½ (x w + |x| |w|)`."""

    def run(x: Tensor) -> Tensor:
        w = weight.to(x.dtype)
        return (apply(x, w) + apply(x.abs(), w.abs())) / 2

    return run


class _Pass(torch.autograd.Function):
    """`value`; relevance goes to x as it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        ctx.shape = x.shape
        return owned(value, x)

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor, None]:
        return relevance[0].sum_to_size(ctx.shape), None


class _Split(torch.autograd.Function):
    """`run(*x)`; relevance by the contributions to `parts(*x)`: `share · x ⊙ ∂parts/∂x (R / parts)`."""

    @staticmethod
    def forward(ctx: Any, run: Any, parts: Any, share: float, *features: Tensor) -> Tensor:
        ctx.parts, ctx.share = parts, share
        ctx.save_for_backward(*features)
        return owned(run(*features), *features)

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor | None, ...]:
        features = [accurate(x).detach().requires_grad_() for x in ctx.saved_tensors]
        with torch.enable_grad():
            total = ctx.parts(*features)
        grads = torch.autograd.grad(total, features, divide(accurate(relevance[0]), total.detach()))
        given = (
            (ctx.share * x.detach() * g).to(s.dtype)
            for x, g, s in zip(features, grads, ctx.saved_tensors, strict=True)
        )
        return None, None, None, *given


class _Add(torch.autograd.Function):
    """A sum; relevance by the terms, then weighed so that no term gets more than all of it."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, run: Callable[..., Tensor], axis: int) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.run, ctx.axis = run, axis
        return run(a, b)

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor, Tensor, None, None]:
        a, b = (accurate(x) for x in ctx.saved_tensors)
        given = accurate(relevance[0])
        share = divide(given, ctx.run(a, b))
        # the second term of a difference counts with its sign
        terms = [a * share, given - a * share]
        dims = [d for d in range(given.dim()) if d != ctx.axis]
        sums = [t.sum(dims, keepdim=True) for t in terms]
        bulk = sums[0].abs() + sums[1].abs()
        total = given.sum(dims, keepdim=True)
        weighed = [t * divide(total * divide(s.abs(), bulk), s) for t, s in zip(terms, sums, strict=True)]
        first, second = (
            w.sum_to_size(x.shape).to(s.dtype)
            for w, x, s in zip(weighed, (a, b), ctx.saved_tensors, strict=True)
        )
        return first, second, None, None


class _Attention(torch.autograd.Function):
    """Fused attention; relevance through `A·V`, the softmax as it is, and `Q·Kᵀ`, halves at each product.

    Row by row of A, so that a part of one layer's matrices is in memory at a time.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, call: AttentionCall) -> Tensor:
        ctx.call = call
        return call.output.view_as(call.output)

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        call: AttentionCall = ctx.call
        q, k, v, out = (accurate(x) for x in (call.query, call.key, call.value, call.output))
        groups = q.shape[1] // k.shape[1]
        k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
        share = divide(accurate(relevance[0]), out)
        to_query, to_key, to_value = (torch.zeros_like(x) for x in (q, k, v))
        for rows in row_chunks(call, slice(None)):
            attention = attention_rows(call, rows)
            to_value += attention.transpose(-2, -1) @ share[..., rows, :]
            of_attention = attention * (share[..., rows, :] @ v.transpose(-2, -1)) / 2
            scores = q[..., rows, :] @ k.transpose(-2, -1)
            of_scores = divide(of_attention, scores)
            to_query[..., rows, :] = of_scores @ k
            to_key += of_scores.transpose(-2, -1) @ q[..., rows, :]
        given = [q * to_query / 2, k * to_key / 2, v * to_value / 2]
        given[1:] = [x.unflatten(1, (-1, groups)).sum(2) for x in given[1:]]
        dtypes = (x.dtype for x in (call.query, call.key, call.value))
        first, second, third = (x.to(d) for x, d in zip(given, dtypes, strict=True))
        return first, second, third, None


def _accurately(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _accurately(v) for k, v in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(_accurately(v) for v in value)
    if isinstance(value, Tensor) and value.is_floating_point() and not value.requires_grad:
        return accurate(value)
    return value


def _flat(args: Any) -> list[Any]:
    return [leaf for x in args for leaf in (x if isinstance(x, list | tuple) else [x])]
