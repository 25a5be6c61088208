"""Which kind of rule each intercepted operation takes, and its arguments in one shape.

A model may call an operation as function, method or operator, with its arguments by position or by name, in
place or not; torch itself adds arguments on the way (`normalize` is handed on with `out`). The rules see the
features by position and nothing that they would have to ignore.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.core import ModelError

# operations by the name that torch gives them, whether called as function, method or operator
_KINDS = {
    "structure": "view reshape view_as reshape_as permute transpose movedim swapaxes swapdims t T mT "
    "flatten unflatten ravel unsqueeze squeeze expand expand_as broadcast_to contiguous clone alias "
    "to type type_as float double half bfloat16 cat concat concatenate stack hstack vstack chunk split "
    "split_with_sizes tensor_split unbind __getitem__ index_select select narrow take_along_dim gather "
    "repeat repeat_interleave tile roll flip pad constant_pad_nd unfold pixel_unshuffle pixel_shuffle "
    "where masked_fill "
    # in place: what is written over loses its relevance, what is written gets it
    "__setitem__ copy_ masked_fill_ zero_ fill_ squeeze_ unsqueeze_ transpose_ t_",
    "dropout": "dropout dropout1d dropout2d alpha_dropout feature_dropout",
    "detached": "detach data",
    "total": "mean sum nanmean avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d interpolate",
    "sum_of": "add sub __radd__ __rsub__ rsub",
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
RULES = {name: kind for kind, names in _KINDS.items() for name in names.split()}
# parameters that are put in their places, by kind or name; the first one is `input` elsewhere
_PLACES = {
    "sum_of": "input other",
    "product": "input other",
    "bmm": "input mat2",
    "mm": "input mat2",
    "mv": "input vec",
    "linear": "input weight bias",
    "pow": "input exponent",
}
# kinds whose operation exists in place and is run as its plain form, then written back
_WRITTEN_BACK = ("sum_of", "product", "negative", "nonlinear", "dropout")


def kind_of(name: str) -> tuple[str | None, str]:
    """The kind of rule, None if there is none, and the name of the operation that is not in place."""
    if name in RULES:
        return RULES[name], name
    plain = name[:-1] if name.endswith("_") and not name.endswith("__") else ""
    return (RULES[plain], plain) if RULES.get(plain) in _WRITTEN_BACK else (None, name)


def changes_its_input(name: str) -> bool:
    """Whether an operation without a rule may have changed a tensor behind the rules' back."""
    return name in ("__setitem__", "__set__ data") or (
        name.endswith("_") and not name.endswith("__") and name not in ("requires_grad_", "retain_grad_")
    )


def plain_form(plain: str) -> Any:
    """The operation of this name that returns a new tensor."""
    return getattr(Tensor, plain, None) or getattr(F, plain, None) or getattr(torch, plain)


def name_of(func: Any) -> str:
    """What torch calls an operation; a property's own name, with `__set__` where it is assigned."""
    name = getattr(func, "__name__", str(func))
    if name == "__get__":
        return func.__self__.__name__
    return f"{name} {func.__self__.__name__}" if name == "__set__" else name


def arranged(name: str, kind: str, args: Any, kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The call's arguments with the features by position and without what is at its default.

    Raises:
        ModelError: For an argument that the rules cannot honour: `out`, a rounding mode.
    """
    args, kwargs = list(args), dict(kwargs)
    for option in ("out", "rounding_mode"):
        if kwargs.pop(option, None) is not None:
            raise ModelError(
                f"The model calls {name!r} on its features with {option!r}, for which no propagation rule "
                "is known.",
                "Use a method that needs none, such as chefer, gradient_weighted_attention or "
                "integrated_gradients.",
            )
    for place in _PLACES.get(name, _PLACES.get(kind, "input")).split()[len(args) :]:
        if place not in kwargs:
            break
        args.append(kwargs.pop(place))
    return args, kwargs
