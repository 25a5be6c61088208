"""A checkpoint as one state dict: which of its weights are taken, under which names, in which type."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from xai.core import ModelError
from xai.models.nesting import choose, is_average, look_up, unread_averages
from xai.models.tensors import check_tensors, floating_types, in_one_type, some
from xai.models.weights_file import read_file
from xai.models.wrappers import same_names, unwrapped

State = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """The weights taken from a file, under the names that they have there.

    Args:
        state: Names and tensors, of one floating-point type.
        facts: What was chosen and left beside, JSON-ready, for `Classifier.describe`.
    """

    state: State
    facts: dict[str, Any] = field(default_factory=dict)


def read_checkpoint(path: Path) -> State:
    """The weights of a file as `open_checkpoint` finds them, without the names of wrappers."""
    return unwrapped(open_checkpoint(path).state)


def open_checkpoint(
    path: Path,
    weights_key: str | None = None,
    ignore_keys: tuple[str, ...] = (),
    own: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Read a weights file, whatever it is called, into a state dict on the CPU.

    The weights are found by what they are, a mapping of names to tensors, however deep; `docs/weights.md`
    has the rules. Of weights and their moving average the average is taken. Floating-point tensors of
    different types are brought to one that holds them all. Both are said in a warning and in the facts.

    Args:
        path: A torch or safetensors file, or the index of a sharded one.
        weights_key: Dotted path to the weights inside, instead of the rule.
        ignore_keys: Beginnings of names that are left out.
        own: State dict of the module that they are for, if it is known: its names are no average's.

    Raises:
        ModelError: When the file is missing, truncated, of another kind, holds code, or its tensors are none
            that can be explained; or when several sets of weights are there and the rule does not choose.
        ConfigError: When `weights_key` names nothing.
    """
    content = read_file(path)
    source = path.name
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds no state dict but {type(content).__name__}.")
    facts: dict[str, Any] = {}
    if weights_key is not None:
        taken = look_up(content, weights_key, source)
        facts["weights_key"] = taken.place
        beside: list[str] = []
    else:
        taken, others = choose(content, source)
        if taken.path:
            facts["weights_key"] = taken.place
        beside = [one.place for one in others] + unread_averages(content, taken.path)
    state = {k: v for k, v in taken.state.items() if not (isinstance(k, str) and k.startswith(ignore_keys))}
    check_tensors(state, source)
    averaged = taken.is_average or "n_averaged" in state  # torch.optim.swa_utils.AveragedModel
    if weights_key is None and not (own and same_names(state, own)):
        state, average, rest = _average_inside(state, source)
        averaged, beside = averaged or bool(average), beside + rest
        if average:
            facts["weights_key"] = ".".join((*taken.path, average))
    _say_choice(facts, averaged, beside, source)
    return Checkpoint(_one_type(state, facts, source), facts)


def _average_inside(state: State, source: str) -> tuple[State, str, list[str]]:
    """The average among names such as `ema.backbone.…`, its beginning, and what is left beside."""
    average: State = {}
    raw: State = {}
    beginnings: set[str] = set()
    for name, tensor in state.items():
        parts = name.split(".")
        at = next((i for i, part in enumerate(parts[:-1]) if is_average(part) and tensor.ndim), None)
        if at is None:
            raw[name] = tensor
        else:
            beginnings.add(".".join(parts[: at + 1]))
            average[".".join(parts[:at] + parts[at + 1 :])] = tensor
    counted = all(tensor.ndim == 0 for tensor in raw.values())
    if not average:
        return state, "", []
    if (
        len(beginnings) == 1
        and len(average) == sum(n.startswith(min(beginnings)) for n in state)
        and (counted or same_names(average, raw))
    ):
        return average, min(beginnings), [] if counted else [f"names without {min(beginnings)}."]
    raise ModelError(
        f"{source} holds weights and what seems to be an average of them, with other names: "
        f"{some(sorted(beginnings))}.",
        f"To take the weights without it: ignore_keys: [{', '.join(f'{b}.' for b in sorted(beginnings)[:5])}]"
        f" in the YAML; to take the average: weights_key: {min(beginnings)}.",
    )


def _say_choice(facts: dict[str, Any], averaged: bool, beside: list[str], source: str) -> None:
    if averaged:
        facts["weights_averaged"] = True
    if not beside:
        return
    facts["weights_beside"] = beside
    taken = facts.get("weights_key", "its top level")
    what = f"the {'averaged ' if averaged else ''}weights under {taken}"
    warnings.warn(
        f"{source}: {what} are explained; beside them lie others that are not: {', '.join(beside[:5])}. "
        "To choose: weights_key: in the YAML.",
        stacklevel=3,
    )


def _one_type(state: State, facts: dict[str, Any], source: str) -> State:
    types = floating_types(state.values())
    if len(types) < 2:
        return state
    state = in_one_type(state)
    (widest,) = floating_types(state.values())
    facts["weights_dtypes"] = types
    said = ", ".join(f"{count} in {name}" for name, count in types.items())
    warnings.warn(
        f"{source} holds tensors of several types ({said}); all are brought to {widest}.", stacklevel=3
    )
    return state
