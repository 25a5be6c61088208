"""Which propagation rule each operation of one forward pass takes.

A `TorchFunctionMode` sees every operation of the pass, whatever library wrote the model, and hands it to the
rule of its kind. Nothing is patched: outside of the `with` block, and in other threads, nothing changes.
An operation of no known kind is an error, because to let it pass would give a wrong map silently.
"""

import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention.intercept import AttentionInterceptor
from xai.attention.running import frozen, refuse_recomputation
from xai.attr.lrp_calls import arranged, changes_its_input, kind_of, name_of, plain_form
from xai.core import ModelError

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
            name = name_of(func)
            kind, plain = kind_of(name)
            if kind is not None:
                return self._by_rule(func, kind, name, plain, *arranged(name, kind, args, kwargs))
            result = func(*args, **kwargs)
        if changes_its_input(name) or any(map(is_data, leaves(result))):
            raise ModelError(
                f"The model runs {name!r} on its features, for which no propagation rule is known.",
                "Use a method that needs none, such as chefer, gradient_weighted_attention or "
                "integrated_gradients.",
            )
        return result

    def _by_rule(self, func: Any, kind: str, name: str, plain: str, args: Any, kwargs: Any) -> Any:
        rule = getattr(self, kind)
        if not kwargs.pop("inplace", False) and plain == name:
            return rule(func, args, kwargs)
        # in place: the rule for a copy, written over it, so that views and other names of it see the change
        written, given = args[0], args[0].clone()
        args[0] = _tagged(given, written) if is_data(written) else given
        return _written_back(written, rule(func if plain == name else plain_form(plain), args, kwargs))

    def project(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return (
            self.linear(F.linear, (x, weight, bias), {}) if is_data(x) else super().project(x, weight, bias)
        )

    def structure(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Moves, copies or drops values: relevance goes with them."""
        return func(*args, **kwargs)

    def dropout(self, func: Any, args: Any, kwargs: Any) -> Any:
        # torch.dropout calls it train
        if kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else True)):
            raise ModelError("The model drops features at random.", "Call model.eval() first.")
        return args[0]

    def detached(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A cut that is meant for training: the value still depends on the pixels."""
        return args[0].view_as(args[0])

    def sum_of(self, func: Any, args: Any, kwargs: Any) -> Any:
        a, b = args[:2]
        if kwargs.get("alpha", 1) != 1 or len(args) > 2:
            raise ModelError("The model adds a multiple of its features (alpha), for which no rule is known.")
        if is_data(a) and is_data(b):
            root = root_of(a)
            return self.of_root(root, func, args, kwargs) if root is root_of(b) else self.add(func, a, b)
        out = self.shifted(func, args, kwargs)
        tensor, other = (a, b) if is_data(a) else (b, a)
        return _tagged(out, tensor) if _is_number(other) and root_of(tensor) is not tensor else out

    def product(self, func: Any, args: Any, kwargs: Any) -> Any:
        factors = leaves(args)
        data = [x for x in factors if is_data(x)]
        if func.__name__ == "einsum" and sum(isinstance(x, Tensor) for x in factors) == 1:
            return self.affine(lambda x: func(args[0], x), data, {})  # moves or sums
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
        x = args[0]
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
        x, weight, *rest = args
        bias = rest.pop(0) if rest else kwargs.pop("bias", None)
        require_constant(weight, "weight of a linear layer")
        return self.weighted(lambda x, w, b=None: func(x, w, b, *rest, **kwargs), x, weight, bias, func)

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
        ModelError: When parts of the model hide their operations, or a backward pass inside the block needs
            what the model has written over.
    """
    hidden = [type(m).__name__ for m in model.modules() if isinstance(m, torch.jit.ScriptModule)]
    hidden += [type(m).__name__ for m in model.modules() if hasattr(m, "_orig_mod")]
    if hidden:
        raise ModelError(
            f"Parts of the model are compiled ({hidden[0]}), so their operations cannot be seen.",
            "Explain the model as it was before torch.compile or torch.jit.",
        )
    with written_over_as_model_error(), frozen(model):
        yield


@contextmanager
def written_over_as_model_error() -> Iterator[None]:
    """Inside the block autograd's own refusal of features that were written over becomes a ModelError."""
    try:
        yield
    except RuntimeError as error:
        # autograd keeps count of what is written over; of its many messages these words are in all
        if not re.search("in-?place", str(error)):
            raise
        raise ModelError(
            f"The model writes over features that are needed again, which cannot be followed: {error}",
            "Use a method that needs no propagation rules, such as chefer or gradient_weighted_attention.",
        ) from error


def is_data(x: Any) -> bool:
    """Whether x depends on the pixels."""
    return isinstance(x, Tensor) and x.requires_grad


def require_constant(parameter: Any, what: str) -> None:
    """Raise a ModelError if a parameter is computed from the image."""
    if is_data(parameter):
        raise ModelError(f"The {what} depends on the image: no propagation rule is known.")


def root_of(x: Tensor) -> Tensor:
    """The tensor of which x is an elementwise function; x itself for others.

    Only while neither was written over since.
    """
    root, versions = getattr(x, _ROOT, (x, None))
    return root if versions == (x._version, root._version) else x


def owned(value: Tensor, *inputs: Tensor) -> Tensor:
    """What a Function computed, as a tensor that the model may write over: autograd forbids it for views."""
    places = {x.untyped_storage().data_ptr() for x in inputs}
    return value.clone() if value.untyped_storage().data_ptr() in places else value.data


def _tagged(x: Tensor, source: Tensor) -> Tensor:
    root = root_of(source)
    setattr(x, _ROOT, (root, (x._version, root._version)))
    return x


def _written_back(x: Tensor, result: Tensor) -> Tensor:
    root = root_of(result)
    version = root._version
    x.copy_(result)
    return _tagged(x, root) if root is not result and root._version == version else x


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) or (isinstance(x, Tensor) and x.numel() == 1)


def _plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {k: v.detach().clone() if is_data(v) else v for k, v in kwargs.items()}


def leaves(value: Any) -> list[Any]:
    """What is in nested lists, tuples and dictionaries."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]
