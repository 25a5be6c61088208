"""A checkpoint as one state dict: which of its mappings are the weights, in which type they are taken."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from xai.core import ConfigError, ModelError
from xai.models.state_dict import read_file, same_names, unwrapped
from xai.models.tensors import check_tensors, floating_types, in_one_type, some

State = dict[str, Tensor]
# where training loops put the model; one of these is taken before a mapping of another name
MODEL_NAMES = frozenset({
    "checkpoint", "generator", "model", "model_state", "model_state_dict", "model_weights", "module", "net",
    "net_state_dict", "network", "network_state_dict", "params", "state", "state_dict", "weights",
})  # fmt: skip
_AVERAGE = {"average", "averaged", "averaging", "avg", "ema", "polyak", "shadow", "swa"}
# beside averaged weights of these, Lightning and mmengine keep the raw ones under names of their own
_RAW = {"current_model_state"}
_STATES_OF_TRAINING = re.compile(r"optim|sched|scaler|rng|random_state|hparams|hyper_param", re.IGNORECASE)
_DEPTH = 6


@dataclass(frozen=True)
class Checkpoint:
    """The weights taken from a file, under the names that they have there.

    Args:
        state: Names and tensors, of one floating-point type.
        description: What was chosen and left beside, JSON-ready, for `Classifier.describe`.
    """

    state: State
    description: dict[str, object] = field(default_factory=dict)


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
    different types are brought to one that holds them all. Both are said in a warning and in the description.

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
    description: dict[str, object] = {}
    if weights_key is not None:
        taken = look_up(content, weights_key, source)
        description["weights_key"] = taken.place
        beside: list[str] = []
    else:
        taken, others = choose(content, source)
        if taken.path:
            description["weights_key"] = taken.place
        beside = [one.place for one in others] + unread_averages(content, taken.path)
    state = {k: v for k, v in taken.state.items() if not (isinstance(k, str) and k.startswith(ignore_keys))}
    check_tensors(state, source)
    averaged = taken.is_average or "n_averaged" in state  # torch.optim.swa_utils.AveragedModel
    if weights_key is None and not (own and same_names(state, own)):
        state, average, rest = _average_inside(state, source)
        averaged, beside = averaged or bool(average), beside + rest
        if average:
            description["weights_key"] = ".".join((*taken.path, average))
    _warn_of_choice(description, averaged, beside, source)
    return Checkpoint(_one_type(state, description, source), description)


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


def _warn_of_choice(description: dict[str, object], averaged: bool, beside: list[str], source: str) -> None:
    if averaged:
        description["weights_averaged"] = True
    if not beside:
        return
    description["weights_beside"] = beside
    taken = description.get("weights_key", "its top level")
    what = f"the {'averaged ' if averaged else ''}weights under {taken}"
    warnings.warn(
        f"{source}: {what} are explained; beside them lie others that are not: {', '.join(beside[:5])}. "
        "To choose: weights_key: in the YAML.",
        stacklevel=3,
    )


def _one_type(state: State, description: dict[str, object], source: str) -> State:
    types = floating_types(state.values())
    if len(types) < 2:
        return state
    state = in_one_type(state)
    (widest,) = floating_types(state.values())
    description["weights_dtypes"] = types
    counts = ", ".join(f"{count} in {name}" for name, count in types.items())
    warnings.warn(
        f"{source} holds tensors of several types ({counts}); all are brought to {widest}.", stacklevel=3
    )
    return state


@dataclass(frozen=True)
class Nested:
    """A mapping in a checkpoint that looks like a model's weights.

    Args:
        path: The keys that lead to it; () is the checkpoint itself.
        state: It.
    """

    path: tuple[str, ...]
    state: Mapping[Any, Any]

    @property
    def place(self) -> str:
        """As `weights_key` names it."""
        return ".".join(self.path)

    @property
    def is_average(self) -> bool:
        """Whether its name says that it is a moving average of the weights."""
        return any(is_average(name) for name in self.path)

    @property
    def is_model(self) -> bool:
        """Whether only usual names of a model lead to it."""
        return all(name.lower() in MODEL_NAMES for name in self.path)


def is_average(name: str) -> bool:
    """Whether a name has a word such as ema, swa or averaged in it."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    words = set(re.split(r"[^a-z]+", spaced.lower()))
    # AveragedModel, modelEMA, ema2
    return bool(words & _AVERAGE)


def find_nested(content: Mapping[Any, Any]) -> list[Nested]:
    """All mappings that look like a model's weights; states of optimizers and the like are passed over.

    A mapping of nothing but tensors does, and one of mostly dotted names of tensors. Where some have dotted
    names or `weight` and `bias`, the others (statistics, metrics) do not count; numbers alone never do.
    """
    found: list[Nested] = []
    _walk(content, (), found, set())
    likely = [one for one in found if _names_parameters(one.state)]
    return likely or found


def choose(content: Mapping[Any, Any], source: str) -> tuple[Nested, list[Nested]]:
    """The weights to take where the checkpoint is not asked for a certain one, and those left beside.

    The average is taken where there is one and the raw weights have the same names; else the one under a
    usual name of a model.

    Raises:
        ModelError: When none is there, or which one is meant cannot be seen.
    """
    found = find_nested(content)
    if not found:
        raise ModelError(*_nothing(content, source))
    averages = [one for one in found if one.is_average]
    raw = [one for one in found if not one.is_average and not set(one.path) & _RAW]
    usual = raw if len(raw) == 1 else [one for one in raw if one.is_model]
    # Lightning's WeightAveraging and mmengine's EMAHook put the average where the model's weights belong
    swapped = "message_hub" in content or any(set(one.path) & _RAW for one in found)
    if not averages or (swapped and usual):
        pick = usual
    elif not raw or (len(averages) == 1 and usual and all(_alike(averages[0], one) for one in usual)):
        pick = averages
    else:
        pick = []
    if len(pick) != 1:
        raise ModelError(
            f"{source} holds several sets of weights: {_places(found)}; which one is meant cannot be seen.",
            _weights_hint(found),
        )
    return pick[0], [one for one in found if one is not pick[0]]


def unread_averages(content: Mapping[Any, Any], path: tuple[str, ...]) -> list[str]:
    """Names along the way to the chosen weights that hold an average in another form, such as a list."""
    names = []
    for step in path:
        names += [
            place for name, value in content.items() if str(name) != step for place in _unread(name, value)
        ]
        content = next(value for name, value in content.items() if str(name) == step)
    return names


def _unread(name: Any, value: Any, depth: int = 3) -> list[str]:
    """Places of averages at or below a name, as callbacks keep them, that are no state dict."""
    if is_average(str(name)) and _holds_tensors(value) and not _is_found(value):
        return [str(name)]
    if not depth or not isinstance(value, Mapping) or _STATES_OF_TRAINING.search(str(name)):
        return []
    inner = {k: v for k, v in value.items() if not isinstance(v, Tensor)}  # an optimizer's exp_avg is one
    return [f"{name}.{place}" for k, v in inner.items() for place in _unread(k, v, depth - 1)]


def look_up(content: Mapping[Any, Any], key: str, source: str) -> Nested:
    """The weights at a dotted path: names of nested mappings, at last also the beginning of weight names.

    Raises:
        ConfigError: When there is nothing; the message lists what there is.
    """
    place: Any = content
    rest, path = key, ()
    while rest:
        names = {str(name): name for name in place} if isinstance(place, Mapping) else {}
        fitting = [name for name in names if rest == name or rest.startswith(f"{name}.")]
        fitting = [name for name in fitting if isinstance(place[names[name]], Mapping)]
        if not fitting:
            break
        name = max(fitting, key=len)
        place, path = place[names[name]], (*path, name)
        rest = rest[len(name) + 1 :]
    if rest and isinstance(place, Mapping):
        inner = {
            k[len(rest) + 1 :]: v for k, v in place.items() if isinstance(k, str) and k.startswith(f"{rest}.")
        }
        place, path = inner, (*path, rest)
    if not isinstance(place, Mapping) or not any(isinstance(value, Tensor) for value in place.values()):
        raise ConfigError(
            f"weights_key: {key} names no weights in {source}.", _weights_hint(find_nested(content))
        )
    return Nested(path, place)


def _walk(content: Mapping[Any, Any], path: tuple[str, ...], found: list[Nested], visited: set[int]) -> None:
    if id(content) in visited or len(path) > _DEPTH or content.keys() >= {"state", "param_groups"}:
        return
    visited.add(id(content))
    if _holds_weights(content):
        found.append(Nested(path, content))
        return
    for name, value in content.items():
        if isinstance(value, Mapping) and not _STATES_OF_TRAINING.search(str(name)):
            _walk(value, (*path, str(name)), found, visited)


def _holds_weights(content: Mapping[Any, Any]) -> bool:
    tensors = [name for name, value in content.items() if isinstance(value, Tensor)]
    if not tensors or all(content[name].ndim == 0 for name in tensors):
        return False
    dotted = sum(isinstance(name, str) and "." in name for name in tensors)
    return len(tensors) == len(content) or 2 * dotted > len(content)


def _names_parameters(state: Mapping[Any, Any]) -> bool:
    return any(isinstance(name, str) and ("." in name or name in ("weight", "bias")) for name in state)


def _alike(average: Nested, raw: Nested) -> bool:
    return same_names(average.state, raw.state)


def _weights_hint(found: list[Nested]) -> str:
    if not found:
        return "There are no weights in it."
    return f"Say which in the YAML: weights_key: one of {_places(found)}."


def _places(found: list[Nested]) -> str:
    return ", ".join(one.place or "(top level)" for one in found[:10])


def _is_found(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(find_nested(value))


def _holds_tensors(value: Any, depth: int = 2) -> bool:
    if isinstance(value, Tensor):
        return value.ndim > 0
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return depth > 0 and any(_holds_tensors(one, depth - 1) for one in inner)


def _nothing(content: Mapping[Any, Any], source: str) -> tuple[str, str]:
    other = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if not content or not other:
        return f"{source} holds no state dict but {type(content).__name__}.", "Give the weights of a model."
    return (
        f"{source} holds entries that are no tensors: {', '.join(other[:5])}.",
        "Expected a state dict, alone or under a name such as state_dict, model_state_dict, model or net.",
    )
