"""Which propagation rule each operation of one forward pass takes.

A `TorchFunctionMode` sees every operation of the pass, whatever library wrote the model, and hands it to the
rule of its kind. Nothing is patched: outside of the `with` block, and in other threads, nothing changes.
An operation of no known kind is an error, because to let it pass would give a wrong map silently.
"""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention.intercept import AttentionInterceptor
from xai.attention.running import refuse_recomputation
from xai.core import ModelError

# operations by the name that torch gives them, whether called as function, method or operator
_KINDS = {
    "structure": "view reshape view_as reshape_as permute transpose movedim swapaxes swapdims t T mT "
    "flatten unflatten ravel unsqueeze squeeze expand expand_as broadcast_to contiguous clone alias "
    "to type type_as float double half bfloat16 cat concat concatenate stack hstack vstack chunk split "
    "split_with_sizes tensor_split unbind __getitem__ index_select select narrow take_along_dim gather "
    "repeat repeat_interleave tile roll flip pad constant_pad_nd unfold pixel_unshuffle pixel_shuffle "
    "where masked_fill",
    "dropout": "dropout dropout1d dropout2d alpha_dropout feature_dropout",
    "detached": "detach data",
    "total": "mean sum nanmean avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d interpolate",
    "sum_of": "add sub __radd__ __rsub__ rsub",
    "in_place": "add_ sub_ mul_ div_",
    "product": "mul __rmul__ multiply matmul __rmatmul__ bmm mm mv einsum div true_divide divide",
    "negative": "neg negative",
    "linear": "linear conv1d conv2d conv3d",
    "nonlinear": "gelu silu mish relu relu6 leaky_relu elu selu celu hardswish hardsigmoid hardtanh sigmoid "
    "tanh erf special_erf softplus pow square clamp clip clamp_min clamp_max",
    "softmax": "softmax",
    "norm": "layer_norm rms_norm normalize",
    "batch_norm": "batch_norm",
    # roots, norms and deviations only ever scale features: they are constants
    "constant": "norm linalg_norm linalg_vector_norm var std sqrt rsqrt",
}
_RULES = {name: kind for kind, names in _KINDS.items() for name in names.split()}
_ROOT = "_elementwise_of"


class RuledPass(AttentionInterceptor):
    """Runs each operation on data by the rule of its kind; operations on constants run as they are.

    Data is what depends on the pixels, that is, requires grad: the parameters are frozen. Elementwise
    functions written out by hand (`x * sigmoid(1.702 * x)`) are seen as one function of x.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(map(is_data, leaves((args, kwargs)))):
            return func(*args, **kwargs)
        with torch.enable_grad():  # also inside a model that runs its backbone under no_grad
            if func in (F.scaled_dot_product_attention, F.multi_head_attention_forward):
                return super().__torch_function__(func, types, args, kwargs)
            name = _name(func)
            kind = _RULES.get(name)
            if kind is not None:
                return getattr(self, kind)(func, args, kwargs)
            result = func(*args, **kwargs)
        if name == "__setitem__" or any(map(is_data, leaves(result))):
            raise ModelError(
                f"The model runs {name!r} on its features, for which no propagation rule is known.",
                "Use a method that needs none, such as chefer, gradient_weighted_attention or "
                "integrated_gradients.",
            )
        return result

    def project(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return (
            self.linear(F.linear, (x, weight, bias), {}) if is_data(x) else super().project(x, weight, bias)
        )

    def structure(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Moves, copies or drops values: relevance goes with them."""
        return func(*args, **kwargs)

    def dropout(self, func: Any, args: Any, kwargs: Any) -> Any:
        if kwargs.get("training", args[2] if len(args) > 2 else True):
            raise ModelError("The model drops features at random.", "Call model.eval() first.")
        return args[0] if args else kwargs["input"]

    def detached(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A cut that is meant for training: the value still depends on the pixels."""
        return args[0].view_as(args[0])

    def in_place(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Of a constant only: the gradient of an addition or a scaling is what the rules need."""
        if not is_data(args[0]) or is_data(args[1]):
            raise ModelError(
                f"The model runs {func.__name__!r} on its features in place, which cannot be followed."
            )
        return func(*args, **kwargs)

    def sum_of(self, func: Any, args: Any, kwargs: Any) -> Any:
        a, b = args[:2]
        if kwargs.get("alpha", 1) != 1:
            raise ModelError("The model adds a multiple of its features (alpha), for which no rule is known.")
        if is_data(a) and is_data(b):
            root = root_of(a)
            return self.of_root(root, func, args, kwargs) if root is root_of(b) else self.add(func, a, b)
        out = self.shifted(func, args, kwargs)
        tensor, other = (a, b) if is_data(a) else (b, a)
        return _tagged(out, tensor) if _is_number(other) and hasattr(tensor, _ROOT) else out

    def product(self, func: Any, args: Any, kwargs: Any) -> Any:
        factors = leaves(args)
        data = [x for x in factors if is_data(x)]
        if len(data) == 1:
            divided = func.__name__ in ("div", "true_divide", "divide")
            if divided and data[0] is not args[0]:
                raise ModelError("The model divides by its features, for which no propagation rule is known.")
            out = self.scaled(func, args, kwargs, data[0])
            return _tagged(out, data[0]) if all(_is_number(x) for x in factors if x is not data[0]) else out
        root = root_of(data[0])
        if func.__name__ in ("mul", "multiply") and root is root_of(data[1]):
            return self.of_root(root, func, args, kwargs)
        if func.__name__.endswith("div") or len(data) > 2:
            raise ModelError(f"The model combines features by {func.__name__!r}, for which no rule is known.")
        return self.bilinear(func, args, kwargs)

    def nonlinear(self, func: Any, args: Any, kwargs: Any) -> Any:
        x = args[0] if args else kwargs["input"]
        if any(is_data(y) for y in leaves((args[1:], kwargs)) if y is not x):
            raise ModelError(f"{func.__name__!r} takes features as its parameter: no rule is known.")
        return self.of_root(root_of(x), func, args, kwargs)

    def of_root(self, root: Tensor, func: Any, args: Any, kwargs: Any) -> Tensor:
        with torch.no_grad():  # a copy, since the function may be one that works in place
            value = func(*(x.detach().clone() if is_data(x) else x for x in args), **_plain(kwargs))
        return _tagged(self.elementwise(root, value), root)

    def constant(self, func: Any, args: Any, kwargs: Any) -> Any:
        with torch.no_grad():
            return func(*args, **kwargs)

    def batch_norm(self, func: Any, args: Any, kwargs: Any) -> Any:
        if kwargs.get("training", args[5] if len(args) > 5 else False):
            raise ModelError("The model normalises over the batch.", "Call model.eval() first.")
        return self.affine(func, args, kwargs)

    def linear(self, func: Any, args: Any, kwargs: Any) -> Any:
        refuse_recomputation()  # run again during backward, outside of these rules
        given = [*args, *(kwargs.pop(n) for n in ("input", "weight", "bias")[len(args) :] if n in kwargs)]
        if is_data(given[1]):
            raise ModelError("The weights of a linear layer depend on the image: no rule is known.")
        bias = given[2] if len(given) > 2 else None
        rest = given[3:]
        return self.weighted(
            lambda x, w, b=None: func(x, w, b, *rest, **kwargs), given[0], given[1], bias, func
        )

    def negative(self, func: Any, args: Any, kwargs: Any) -> Any:
        return self.scaled(func, args, kwargs, args[0])

    def total(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A fixed linear map without parameters, such as a mean over tokens."""
        return self.affine(func, args, kwargs)

    @abstractmethod
    def add(self, func: Any, a: Tensor, b: Tensor) -> Tensor:
        """A sum or difference of two features."""

    @abstractmethod
    def shifted(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """A constant added."""

    @abstractmethod
    def scaled(self, func: Any, args: Any, kwargs: Any, x: Tensor) -> Tensor:
        """The product of features x and a constant: scalar, vector or matrix."""

    @abstractmethod
    def affine(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """A fixed affine map of the first argument."""

    @abstractmethod
    def bilinear(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """The product of two features."""

    @abstractmethod
    def weighted(self, apply: Any, x: Tensor, weight: Tensor, bias: Tensor | None, func: Any) -> Tensor:
        """`apply(x, weight, bias)`: a linear layer or convolution."""

    @abstractmethod
    def elementwise(self, root: Tensor, value: Tensor) -> Tensor:
        """A nonlinear function of each element of `root`, with this value."""

    @abstractmethod
    def softmax(self, func: Any, args: Any, kwargs: Any) -> Tensor: ...

    @abstractmethod
    def norm(self, func: Any, args: Any, kwargs: Any) -> Tensor: ...


@contextmanager
def followed(model: nn.Module) -> Iterator[None]:
    """Parameters frozen meanwhile, so that only what depends on the pixels requires grad.

    Raises:
        ModelError: When parts of the model hide their operations.
    """
    hidden = [type(m).__name__ for m in model.modules() if isinstance(m, torch.jit.ScriptModule)]
    hidden += [type(m).__name__ for m in model.modules() if hasattr(m, "_orig_mod")]
    if hidden:
        raise ModelError(
            f"Parts of the model are compiled ({hidden[0]}), so their operations cannot be seen.",
            "Explain the model as it was before torch.compile or torch.jit.",
        )
    trainable = [p for p in model.parameters() if p.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def is_data(x: Any) -> bool:
    """Whether x depends on the pixels."""
    return isinstance(x, Tensor) and x.requires_grad


def root_of(x: Tensor) -> Tensor:
    """The tensor of which x is an elementwise function; x itself for others."""
    return getattr(x, _ROOT, x)


def _tagged(x: Tensor, source: Tensor) -> Tensor:
    setattr(x, _ROOT, root_of(source))
    return x


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) or (isinstance(x, Tensor) and x.numel() == 1)


def _plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {k: v.detach().clone() if is_data(v) else v for k, v in kwargs.items()}


def _name(func: Any) -> str:
    return func.__self__.__name__ if func.__name__ == "__get__" else func.__name__


def leaves(value: Any) -> list[Any]:
    """What is in nested lists, tuples and dictionaries."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]
