"""Propagation rules written as a modified gradient: relevance is input times gradient."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.attr.batching import accurate
from xai.attr.lrp_rules import RuledPass, is_data, owned, require_constant
from xai.core import ModelError

_SMALL = 1e-6


class GradientRules(RuledPass):
    """Operations with a backward pass such that input times gradient is the relevance.

    Args:
        gamma: γ of linear layers.
        gamma_attention: γ of linear layers next to attention.
        gamma_embedding: γ of convolutions.
        constant_attention: Whether attention probabilities are constants (CP-LRP).
    """

    def __init__(
        self, gamma: float, gamma_attention: float, gamma_embedding: float, *, constant_attention: bool
    ):
        super().__init__()
        self.gamma, self.gamma_attention, self.gamma_embedding = gamma, gamma_attention, gamma_embedding
        self.constant_attention = constant_attention
        self.embedding: Tensor | None = None  # output of the first convolution
        self._after_attention = False  # the next linear layer is attention's output projection
        self._has_probabilities = False  # the next matrix product is with attention's values

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        if is_data(options.get("attn_mask")):
            raise ModelError("The attention mask depends on the image: no propagation rule is known.")
        self._next_to_attention(query, key, value)
        if self.constant_attention:
            query, key = query.detach(), key.detach()
        else:
            query, key, value = share(query, 0.25), share(key, 0.25), share(value, 0.5)
        return F.scaled_dot_product_attention(query, key, value, **options)

    def softmax(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        x = args[0]
        if x.dim() > 2:  # else it is over classes
            self._next_to_attention(x)
            self._has_probabilities = True
            if self.constant_attention:
                return self.constant(func, args, kwargs)
        return func(*args, **kwargs)

    def bilinear(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        self._values(func, args)
        shared = (share(x, 0.5) if is_data(x) else x for x in _flat(args))
        return func(*shared, **kwargs)

    def scaled(self, func: Any, args: Any, kwargs: Any, x: Tensor) -> Tensor:
        self._values(func, (x,))
        return func(*args, **kwargs)

    def weighted(self, apply: Any, x: Tensor, weight: Tensor, bias: Tensor | None, func: Any) -> Tensor:
        if func is not F.linear:
            gamma = self.gamma_embedding
        elif self._after_attention:
            gamma = self.gamma_attention
        else:
            gamma = self.gamma
        if func is F.linear:
            self._after_attention = False
        if gamma == self.gamma_attention == 0:  # the bias may be one of the image: a term like the others
            out = apply(x, weight, bias)
        else:
            require_constant(bias, "bias of a linear layer")
            out = _Gamma.apply(x, weight, bias, apply, gamma)
        if func is not F.linear and self.embedding is None:
            self.embedding, out = out, out.clone()  # the model may write over its own
        return out

    def elementwise(self, root: Tensor, value: Tensor) -> Tensor:
        x = accurate(root.detach())
        tiny = x.abs() < _SMALL
        factor = accurate(value) / torch.where(tiny, torch.where(x < 0, -_SMALL, _SMALL), x)
        return _Scale.apply(root, value, factor.to(value.dtype))

    def norm(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        return _NORMS[func.__name__](*args, **kwargs)

    def add(self, func: Any, a: Tensor, b: Tensor) -> Tensor:
        return func(a, b)

    def shifted(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        return func(*args, **kwargs)

    def affine(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        return func(*args, **kwargs)

    def _values(self, func: Any, args: Any) -> None:
        if self._has_probabilities and func.__name__ not in ("mul", "multiply", "div", "__rmul__"):
            self._next_to_attention(*(x for x in _flat(args) if is_data(x)))
            self._has_probabilities = False

    def _next_to_attention(self, *features: Tensor) -> None:
        """Give the linear layers that these features come from, and the next one, the γ of attention."""
        if self.gamma == self.gamma_attention:
            return
        nodes: list[Any] = [x.grad_fn for x in features]
        met = set()
        while nodes:
            node = nodes.pop()
            if node is None or node in met:
                continue
            met.add(node)
            if getattr(node, "_forward_cls", None) is _Gamma:
                node.gamma = self.gamma_attention
            else:
                nodes += [before for before, _ in node.next_functions]
        self._after_attention = True


def share(x: Tensor, part: float) -> Tensor:
    """The same x, whose gradient is `part` of what it would be."""
    return _Scale.apply(x, x, part)


class _Scale(torch.autograd.Function):
    """`value`, with `factor` as its derivative by x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, factor: Tensor | float) -> Tensor:
        ctx.factor = factor
        # a share of x stands for x in one operation only, so it may be a view; other values are the model's
        return value.view_as(value) if value is x else owned(value, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0] * ctx.factor, None, None


class _Gamma(torch.autograd.Function):
    """A linear map whose backward pass is the γ rule for inputs of either sign.

    Contributions `x_j w_jk` of the sign of z_k are raised by 1 + γ. They sum to `½ (z + sign(z) m)` with
    `m = |x| |w| + |b|`, so the denominator of the rule is `z + γ/2 (z + sign(z) m)`.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, apply: Callable[..., Tensor], gamma: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.run, ctx.gamma = apply, gamma
        return owned(apply(x, weight, bias), x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, weight, bias = ctx.saved_tensors
        raised = ctx.gamma / 2
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            total = ctx.run(x, weight, bias)
            z = total.detach()
            if raised:
                magnitude = ctx.run(x.abs(), weight.abs(), None if bias is None else bias.abs())
                total = total + raised * (total + z.sign() * magnitude)
        gradient = grads[0]
        if raised:
            ratio = accurate(z) / accurate(total.detach())
            gradient = (gradient * torch.where(z == 0, 0, ratio)).to(z.dtype)
        return torch.autograd.grad(total, x, gradient)[0], None, None, None, None


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float | int = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Layer normalisation, its deviation a constant; torch.layer_norm has `cudnn_enable`, which says how."""
    x = accurate(input)
    centred = x - x.mean(_last(normalized_shape), keepdim=True)
    return _normed(input, centred, normalized_shape, weight, bias, eps)


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | int | None = None,
) -> Tensor:
    """Root mean square normalisation, the root a constant."""
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return _normed(input, accurate(input), normalized_shape, weight, None, eps)


def normalize(input: Tensor, p: float | int = 2.0, dim: int = 1, eps: float | int = 1e-12) -> Tensor:
    """Lp normalisation, the norm a constant."""
    return input / input.detach().norm(p, dim, keepdim=True).clamp_min(eps)


_NORMS = {"layer_norm": layer_norm, "rms_norm": rms_norm, "normalize": normalize}


def _normed(
    like: Tensor,
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float | int,
) -> Tensor:
    require_constant(weight, "weight of a normalisation")
    out = x * (x.detach().square().mean(_last(shape), keepdim=True) + eps).rsqrt()
    out = out if weight is None else out * weight
    return (out if bias is None else out + bias).to(like.dtype)


def _last(shape: Sequence[int]) -> list[int]:
    return list(range(-len(shape), 0))


def _flat(args: Any) -> list[Any]:
    return [leaf for x in args for leaf in (x if isinstance(x, list | tuple) else [x])]
