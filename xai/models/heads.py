"""The classification head behind a tower, rebuilt from its keys."""

import re
from collections.abc import Callable

from torch import nn

from xai.core import ConfigError, ModelError, nearest
from xai.models.checkpoint import State

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
}


def build_head(state: State, width: int, activation: str | None = None) -> nn.Module:
    """A Linear (`weight`, `bias`) or an MLP (`0.weight`, `2.weight` …) with these weights, in eval mode.

    A gap in the MLP's numbering is an activation (and dropout, idle here); which one is not in the weights.

    Args:
        state: Keys without the head's own prefix.
        width: Of the feature that it reads.
        activation: One of ACTIVATIONS, for an MLP.

    Raises:
        ConfigError: When an activation is needed and not given, or unknown.
        ModelError: When the head is neither Linear nor an MLP of Linears, or reads another width.
    """
    if state.keys() <= {"weight", "bias"} and "weight" in state and state["weight"].ndim == 2:
        return _linear(state, width)
    layers: dict[int, State] = {}
    for key, value in state.items():
        match = re.fullmatch(r"(0|[1-9]\d{0,3})\.(weight|bias)", key)
        if match is None or value.ndim != (2 if match[2] == "weight" else 1):
            raise ModelError(
                f"The head is more than Linear layers: {key} {tuple(value.shape)}.",
                'Load the detector with factory: "package.module:Class" in the YAML.',
            )
        layers.setdefault(int(match[1]), {})[match[2]] = value
    if not layers:
        raise ModelError("The checkpoint has no classification head.")
    modules: list[nn.Module] = []
    last = None
    for index, weights in sorted(layers.items()):
        if "weight" not in weights:
            raise ModelError(f"Layer {index} of the head has no weight.")
        if last is not None and index > last + 1:
            modules.append(_activation(activation))
        modules.append(linear := _linear(weights, width))
        last, width = index, linear.out_features
    return nn.Sequential(*modules).eval()


def _linear(state: State, width: int) -> nn.Linear:
    outputs, inputs = state["weight"].shape
    if outputs == 0 or ("bias" in state and state["bias"].shape != (outputs,)):
        shapes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in sorted(state.items()))
        raise ModelError(
            f"The head is no Linear layer: {shapes}.", "The checkpoint is broken; use another one."
        )
    if inputs != width:
        raise ModelError(f"The head reads {inputs} features; the tower or the layer before gives {width}.")
    linear = nn.Linear(inputs, outputs, bias="bias" in state, dtype=state["weight"].dtype)
    linear.load_state_dict(state)
    return linear.eval()


def _activation(name: str | None) -> nn.Module:
    if name is None:
        raise ConfigError(
            "The head is an MLP, and which activation stands between its layers is not in the weights.",
            f"Say it in the YAML: head_activation: one of {', '.join(ACTIVATIONS)}.",
        )
    if name not in ACTIVATIONS:
        raise ConfigError(f"Unknown head_activation {name!r}.", nearest(name, ACTIVATIONS))
    return ACTIVATIONS[name]()
