"""Adapters of PEFT folded into the weights they change, from tensors alone; PEFT itself is not needed.

docs/weights.md says which kinds are folded, and which model is meant where PEFT's own passes differ.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from xai.core import ModelError
from xai.models.adapter_rules import MERGE, AdaptedLayer, adapted, is_idle, kind_of, rank_of
from xai.models.adapter_settings import AdapterSettings
from xai.models.checkpoint import State
from xai.models.tensors import some

PREFIX = "base_model.model."
_BASE = ".base_layer."
_SAVED = re.compile(r"\.modules_to_save\.([^.]+)\.")
_ORIGINAL = ".original_module."
_PARTS = r"lora_A|lora_B|lora_embedding_[AB]|lora_magnitude_vector|hada_\w+|lokr_\w+|ia3_l|ln_tuning_layers"
_TUNED = re.compile(rf"^(?P<module>.+)\.(?P<part>{_PARTS})(?:\.(?P<rest>.+))?$")
# parts that are modules with a weight; the others are parameters by themselves
_MODULES = ("lora_A", "lora_B", "lora_magnitude_vector", "ln_tuning_layers")
_FOREIGN = re.compile(
    r"(^|\.)((lora|oft|boft|vera|vblora|hra|fourierft|randlora|shira|bone|miss|road|poly)_"
    r"|trainable_tokens_|prompt_embeddings$|prompt_encoder\.|ranknum(\.|$))"
)
# kept by some residual-SVD code for its training losses; no part of the forward pass
_SVD_UNUSED = ("U_r", "S_r", "V_r", "weight_original_fnorm", "weight_main_fnorm")
Classes = Mapping[str, type] | None  # of a module's inner modules, by name


@dataclass
class Folded:
    """What folding made, and of what.

    Args:
        state: Plain weights.
        kinds: What was folded, such as "lora" and "modules_to_save".
        notes: For `Classifier.describe`, JSON-ready.
    """

    state: State
    kinds: list[str]
    notes: dict[str, object] = field(default_factory=dict)


def without_prefix(state: State) -> State:
    """The names without what a PeftModel puts before those of its base."""
    return {key.replace(PREFIX, "", 1): value for key, value in state.items()}


def holds_adapters(state: State) -> bool:
    """Whether adapters of any kind stand in a state dict."""
    return any(_TUNED.match(key) or _FOREIGN.search(key) or _SAVED.search(key) for key in state)


def fold(state: State, settings: AdapterSettings | None = None) -> Folded:
    """Plain weights of a state dict with PEFT adapters or residual-SVD linears.

    A residual-SVD linear (Effort, arXiv 2411.15633) has the weight
    `weight_main + U_residual · diag(S_residual) · V_residual`; for adapters see `fold_adapters`.

    Returns:
        The plain weights, and what was folded: "peft" for the names of its wrappers, the kinds of
        `fold_adapters`, "residual_svd".

    Raises:
        ConfigError: When the settings lack what an adapter's weights do not say.
        ModelError: When an adapter is not of a kind that is folded, or an SVD factor is missing.
    """
    plain = without_prefix(state)
    folded = Folded(plain, [] if plain.keys() == state.keys() else ["peft"])
    if holds_adapters(plain):
        adapters = fold_adapters(plain, settings)
        folded = Folded(adapters.state, folded.kinds + adapters.kinds, adapters.notes)
    if any(key.endswith(".weight_main") for key in folded.state):
        folded.kinds.append("residual_svd")
        folded.state = _fold_svd(folded.state)
    return folded


def _fold_svd(state: State) -> State:
    plain = dict(state)
    for key in [k for k in state if k.endswith(".weight_main")]:
        module = key.removesuffix("weight_main")
        weight = plain.pop(key)
        factors = [plain.pop(f"{module}{name}_residual", None) for name in "USV"]
        left, singular, right = factors
        if left is not None and singular is not None and right is not None:
            # summed in float64: the fold must not cost accuracy that the parts had
            residual = left.double() @ torch.diag(singular.double()) @ right.double()
            weight = (weight.double() + residual).to(weight.dtype)
        elif any(factor is not None for factor in factors):
            raise ModelError(f"{module[:-1]} lacks one of U_residual, S_residual, V_residual.")
        plain[f"{module}weight"] = weight
        for name in _SVD_UNUSED:
            plain.pop(f"{module}{name}", None)
    return plain


def fold_adapters(
    state: State, settings: AdapterSettings | None = None, module: nn.Module | None = None
) -> Folded:
    """Plain weights of a state dict in which adapters stand beside the weights that they change.

    Args:
        state: Names without `base_model.model.`; those of base layers with or without `.base_layer`.
        settings: What the weights do not say.
        module: That the weights are for, if there is one: its classes say whose weights are transposed, and
            whose out-projection is read without being called.

    Raises:
        ConfigError: When α is needed and not given.
        ModelError: When adapters are of a kind that is not folded, or several, or their base is missing.
    """
    settings = settings or AdapterSettings()
    state, kinds = _with_saved_modules(state)
    tuned, plain = _parted(state)
    if foreign := [key for key in plain if _FOREIGN.search(key)]:
        raise ModelError(f"The checkpoint holds adapters that are not folded here: {some(foreign)}.", MERGE)
    modules = {key.rpartition(".")[0] for key in plain}
    if alone := [name for name in tuned if name not in modules and kind_of(tuned[name]) != "ln_tuning"]:
        raise ModelError(
            f"The checkpoint holds adapters of weights that it does not hold: {some(alone)}"
            f"{' — and nothing else: the model that they adapt is missing' if not plain else ''}.",
            "Give the base as weights: and the adapter's folder as adapter: in the YAML, or the folder as "
            f"local:DIR. {MERGE}",
        )
    classes = None if module is None else {name: type(inner) for name, inner in module.named_modules()}
    unread = _out_projections(plain, tuned, classes)
    folded = Folded(plain, kinds)
    for name, parts in tuned.items():
        kind = kind_of(parts)
        if kind not in kinds:
            kinds.append(kind)
        if unread.get(name) == "unread":
            if not is_idle(parts):
                folded.notes.setdefault("adapters_unread", []).append(name)  # pyrefly: ignore[missing-attribute]
            continue
        scale = settings.scale(name, kind, rank_of(parts))
        if unread.get(name) == "twice" and settings.out_proj_twice:
            scale *= 2
            folded.notes["adapter_out_proj"] = "twice"
        _fold_one(plain, name, parts, scale, _is_transposed(classes, name, settings))
    warn_of(folded.notes)
    return folded


def _with_saved_modules(state: State) -> tuple[State, list[str]]:
    """Modules that were trained whole, in the place of the originals that PEFT keeps beside them."""
    found = {key: match for key in state if (match := _SAVED.search(key))}
    if not found:
        return state, []
    if len(names := {match[1] for match in found.values()}) > 1:
        raise _several("modules_to_save", names)
    wrapped = {key[: match.start()] for key, match in found.items()}
    kept = {
        key: value
        for key, value in state.items()
        if key not in found and not (_ORIGINAL in key and key.partition(_ORIGINAL)[0] in wrapped)
    }
    kept.update({key.replace(found[key][0], ".", 1): state[key] for key in found})
    return kept, ["modules_to_save"]


def module_of(key: str) -> str | None:
    """The module that a key of an adapter is on, under its name in the base; None of other keys."""
    match = _TUNED.match(key.replace(_BASE, "."))
    return match["module"] if match else None


def canonical(state: State) -> State:
    """The names without `.base_layer`, as the base has them.

    Beside the adapter of an attention's out-projection PEFT may put another on its alias; nothing reads that.
    """
    inner = {key.replace(_BASE, ".") for key in state if _BASE in key}
    return {
        key.replace(_BASE, "."): value
        for key, value in state.items()
        if _BASE in key or not (_TUNED.match(key) and key in inner)
    }


def parts_of(state: State, adapter: str) -> dict[str, Any]:
    """The parts of one adapter in the state dict of the layer that it is on."""
    found: dict[str, Any] = {}
    for key, value in state.items():
        match = _TUNED.match(f"layer.{key}")
        if match and match["module"] == "layer":
            name, leaf = _name_and_leaf(match)
            if name == adapter:
                found[leaf] = value
    return found


def is_read(part: str) -> bool:
    """Whether a name in the state dict of a layer is that of a part of an adapter that is folded."""
    return _TUNED.match(f"layer.{part}") is not None


def _parted(state: State) -> tuple[dict[str, dict[str, Any]], State]:
    """Adapters by module, and the other weights."""
    tuned: dict[str, dict[str, Any]] = defaultdict(dict)
    names: dict[str, set[str]] = defaultdict(set)
    plain: State = {}
    for key, value in canonical(state).items():
        match = _TUNED.match(key)
        if match is None:
            plain[key] = value
            continue
        adapter, leaf = _name_and_leaf(match)
        names[match["module"]].add(adapter)
        tuned[match["module"]][leaf] = value
    for module, adapters in names.items():
        if len(adapters) > 1:
            raise _several(module, adapters)
    return dict(tuned), plain


def _name_and_leaf(match: re.Match[str]) -> tuple[str, str]:
    part, rest = match["part"], match["rest"]
    if part not in _MODULES:
        return rest or "", part
    if rest is None and part in ("lora_A", "lora_B"):
        raise ModelError(
            f"{match['module']} has LoRA factors as loralib keeps them ({part}), which merges them into the "
            "weight in eval mode: whether they are in it already cannot be seen.",
            "Save the merged state dict without them, or PEFT's.",
        )
    adapter, _, leaf = (rest or "").rpartition(".")
    if leaf not in ("weight", "bias"):
        adapter, leaf = rest or "", "weight"
    return adapter, part if part in _MODULES[:3] and leaf == "weight" else f"{part}.{leaf}"


def _several(module: str, adapters: set[str]) -> ModelError:
    return ModelError(
        f"Several adapters at {module}: {', '.join(sorted(adapters)[:5])}; which one is in use "
        "cannot be seen.",
        "Save the checkpoint with the active adapter only.",
    )


def _out_projections(plain: State, tuned: Mapping[str, Any], classes: Classes) -> dict[str, str]:
    """Adapters of out-projections of nn.MultiheadAttention, whose weight is read without a call of theirs.

    An adapter there is "unread" by the forward pass, unless the attention has one itself: then PEFT merges
    both for each pass, and (up to 0.21) adds the out-projection's change "twice".
    """
    found: dict[str, str] = {}
    for name in tuned:
        attention, _, last = name.rpartition(".")
        if last != "out_proj" or f"{attention}.in_proj_weight" not in plain:
            continue
        if classes is None or issubclass(classes.get(attention, object), nn.MultiheadAttention):
            found[name] = "twice" if attention in tuned else "unread"
    return found


def _fold_one(plain: State, name: str, parts: Mapping[str, Any], scale: float, transposed: bool) -> None:
    key = next((k for k in (f"{name}.weight", f"{name}.in_proj_weight") if k in plain), None)
    if key is None and kind_of(parts) == "ln_tuning":  # replaces the norm whole, so the norm may be missing
        plain.update({f"{name}.{part.rpartition('.')[2]}": value for part, value in parts.items()})
        return
    if key is None:
        raise ModelError(f"The adapter of {name} changes no weight that is there.", MERGE)
    bias = None if key.endswith("in_proj_weight") else plain.get(f"{name}.bias")
    plain[key], changed = adapted(AdaptedLayer(name, plain[key], bias, transposed), parts, scale)
    if changed is not None:
        plain[f"{name}.bias"] = changed


def _is_transposed(classes: Classes, name: str, settings: AdapterSettings) -> bool:
    if classes is None:
        return settings.fan_in_fan_out
    return classes.get(name, object).__name__ == "Conv1D"  # of transformers


def warn_of(notes: Mapping[str, Any]) -> None:
    """Say which model is meant where PEFT's passes differ, or do not do what the adapters say."""
    if unread := notes.get("adapters_unread"):
        warnings.warn(
            "nn.MultiheadAttention does not call its out-projection, so PEFT's forward pass leaves out the "
            f"adapter of {some(unread)}. Explained is what that pass computes, without them; "
            "merge_and_unload() would make another model.",
            stacklevel=4,
        )
    if notes.get("adapter_out_proj"):
        warnings.warn(
            "The adapters of nn.MultiheadAttention's out-projections count twice, as PEFT up to 0.21 "
            "computes them, merged or not. If yours counts them once: out_proj_twice: false, under "
            "adapter: in the YAML, or in adapter_config.json.",
            stacklevel=4,
        )
