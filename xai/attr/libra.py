"""LibraGrad: rules under which any gradient method runs, by a backward pass that hands on all it gets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from xai.attention import as_written, refuse_hidden_backward
from xai.attr.lrp_gradient import GradientRules
from xai.attr.lrp_rules import RuledPass, followed, is_data

RULES = (None, "libra")
"""What the option `rules` of gradient methods takes: the model's own gradient, or LibraGrad's."""


@contextmanager
def libra_rules(model: nn.Module) -> Iterator[None]:
    """Inside the block gradients through the model are LibraGrad's; what it answers is the same.

    A function is FullGrad-complete where inputs and biases times their gradients sum to its value. Linear
    layers and residuals are; what a transformer has besides them gets the backward pass of a function that
    equals it at this input and is complete too:

    - attention: `O = [A]·V`, where [·] is a constant in the backward pass;
    - LayerNorm: `(x − E x) / [√(Var x + ε)]`, and so RMSNorm and the L2 norm: `x / [‖x‖]`;
    - activations: `x · [f(x) / x]`, which is the gate of GELU and SiLU; ReLU as it is;
    - a product of two branches (SwiGLU): half of the gradient to each.

    These are the rules of CP-LRP with γ = 0, so input times gradient is that method. Any method that asks
    autograd for gradients runs in it, those of Captum included: the rules hold for calls of `model` alone,
    in any number, and where some of its attention is recorded. Parameters are frozen and compiled parts run
    eagerly meanwhile. The model is as before afterwards, also after an exception.

    Source: Mehri et al. 2025, arXiv 2411.16760, section 3.5.

    Args:
        model: A classifier.

    Raises:
        ModelError: In the block, for an operation on features for which there is no rule.

    Examples:
        >>> import torch, xai, captum.attr
        >>> from xai.attr import libra_rules
        >>> model = xai.load("demo")
        >>> with libra_rules(model):
        ...     values = captum.attr.Saliency(model).attribute(torch.rand(1, 3, 224, 224), target=1)
        >>> values.shape
        torch.Size([1, 3, 224, 224])
    """
    with ruled(model, lambda: GradientRules(0.0, 0.0, 0.0, constant_attention=True)):
        yield


@contextmanager
def ruled(model: nn.Module, rules: Callable[[], RuledPass]) -> Iterator[None]:
    """Inside the block every call of the model follows rules of propagation, and nothing around it does.

    Args:
        model: The module that will be called.
        rules: Gives those of one call, which may keep what they saw of it.
    """
    own, before = model.forward, vars(model).get("forward")

    def forward(*args: Any, **kwargs: Any) -> Any:
        with rules():
            # a leaf cannot be written over
            output = own(*(a.clone() if is_data(a) and a.is_leaf else a for a in args), **kwargs)
        if is_data(output):
            refuse_hidden_backward(output)
        return output

    with followed(model), as_written(model):
        vars(model)["forward"] = forward
        try:
            yield
        finally:
            del vars(model)["forward"]
            if before is not None:  # some libraries wrap it per module
                vars(model)["forward"] = before
