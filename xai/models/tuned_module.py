"""Modules that PEFT has put adapters into, as they run, without its layers.

A PEFT layer keeps the weight and its change apart, and methods that look at weights or at each call (LRP, and
those that follow values through projections) would see the weight alone. So a copy with plain layers is
explained, which answers as the module does. PEFT's layers are known by where their classes come from; it is
not imported.
"""

import warnings
from copy import deepcopy
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from xai.core import ModelError
from xai.models.adapter_rules import AdaptedLayer, adapted, is_idle, kind_of
from xai.models.adapters import PREFIX, is_read, parts_of, warn_of
from xai.models.tensors import check_module, floating_types, some

_TUNERS = ("LoraLayer", "LoHaLayer", "LoKrLayer", "IA3Layer", "LNTuningLayer")
_MERGE = "Merge it by PEFT and give what comes back: model.merge_and_unload()."


def without_tuners(module: nn.Module) -> tuple[nn.Module, dict[str, object]]:
    """A module that answers as this one does, without PEFT's layers; the module itself where it has none.

    The adapters that are active count, with the factors that their layers have. A module without any, such as
    a PEFT model for prompts, is returned as it is.

    Returns:
        The module or a copy of it; and what was folded, JSON-ready, {} where it is the module itself.

    Raises:
        ModelError: When a layer is of a kind that is not folded here, or its weights cannot be explained.
    """
    found = {name: one for name, one in module.named_modules() if _is_tuner(one) or _is_saved(one)}
    if not found:
        return module, {}
    check_module(module)
    if other := sorted({_described(one) for one in found.values() if not _is_known(one)}):
        raise ModelError(
            f"{type(module).__name__} has PEFT layers that are not folded here: {some(other)}.", _MERGE
        )
    copy = deepcopy(module)
    if len(types := floating_types(copy.parameters())) > 1:
        warnings.warn(
            f"{type(module).__name__} has weights and adapters of several types ({', '.join(types)}); a copy "
            "in one that holds them is explained.",
            stacklevel=3,
        )
        copy = _in_one_type(copy)
    active = sorted({adapter for one in found.values() for adapter in _active(one)})
    notes: dict[str, Any] = {"adapters": active, "folded": []}
    _replace(copy, "", notes)
    warn_of(notes)
    return copy, notes


def _replace(parent: nn.Module, path: str, notes: dict[str, Any]) -> None:
    """Put plain modules in the places of PEFT's, all the way down."""
    for name, child in list(parent.named_children()):
        place = f"{path}.{name}" if path else name
        plain = child
        if _is_saved(child):
            plain = _saved(child)
            _note(notes, "modules_to_save")
        elif _is_tuner(child):
            read = not (name == "out_proj" and isinstance(parent, nn.MultiheadAttention))
            plain = _folded(child, place, notes, read)
        if plain is not child:
            setattr(parent, name, plain)
        _replace(plain, place, notes)


def _folded(layer: Any, place: str, notes: dict[str, Any], read: bool) -> nn.Module:
    """The base layer with the active adapters in its weights.

    Args:
        layer: A tuner's.
        place: Its name.
        notes: Entered.
        read: Whether the module around it calls it; nn.MultiheadAttention reads the weight of its
            out-projection instead, without the adapter.
    """
    active = [] if layer.merged else _active(layer)
    base = layer.get_base_layer()
    if _is_tuner(layer.base_layer):
        raise ModelError(f"{place} has an adapter on an adapter, which is not folded here.", _MERGE)
    if isinstance(base, nn.MultiheadAttention):
        if active:
            _note(notes, "lora")
        # PEFT's own: versions differ in what they make of the out-projection
        return layer.unload_and_optionally_merge_module(
            merge=bool(active), safe_merge=False, adapter_names=active
        )
    for adapter in active:
        parts = parts_of(layer.state_dict(), adapter)
        kind = kind_of(parts)
        if not read:
            if not is_idle(parts):
                notes.setdefault("adapters_unread", []).append(place.replace(PREFIX, "", 1))
            continue
        if kind == "dora" and len(active) > 1:
            raise ModelError(f"{place} has several active adapters, one of them DoRA.", _MERGE)
        _note(notes, kind)
        transposed = type(base).__name__ == "Conv1D"  # of transformers
        bias = getattr(base, "bias", None)
        scale = layer.scaling[adapter] if hasattr(layer, "scaling") else 1.0
        weight, changed = adapted(
            AdaptedLayer(place, base.weight.data, _data(bias), transposed), parts, scale
        )
        base.weight.data = weight
        if changed is not None and bias is not None:
            bias.data = changed
    return base


def _data(bias: Any) -> Tensor | None:
    return None if bias is None else bias.data


def _saved(wrapper: Any) -> nn.Module:
    active = _active(wrapper)
    return wrapper.modules_to_save[active[0]] if active else wrapper.original_module


def _active(layer: Any) -> list[str]:
    """Names of the adapters that a layer adds, in their order."""
    if layer.disable_adapters:
        if getattr(layer, "merged", False):
            raise ModelError("Adapters are merged and disabled; PEFT unmerges them in the next pass.", _MERGE)
        return []
    held = getattr(layer, "modules_to_save", None)
    if held is None:
        held = {name for part in layer.adapter_layer_names for name in getattr(layer, part, ())}
    return [name for name in layer.active_adapters if name in held]


def _in_one_type(module: nn.Module) -> nn.Module:
    types = [p.dtype for p in module.parameters() if p.is_floating_point()]
    return module.to(reduce(torch.promote_types, types))


def _note(notes: dict[str, Any], kind: str) -> None:
    if kind not in notes["folded"]:
        notes["folded"].append(kind)


def _is_of_peft(module: nn.Module) -> bool:
    return any(one.__module__.startswith("peft.") for one in type(module).__mro__)


def _is_tuner(module: nn.Module) -> bool:
    return hasattr(module, "base_layer") and _is_of_peft(module)


def _is_saved(module: nn.Module) -> bool:
    return hasattr(module, "original_module") and _is_of_peft(module)


def _described(module: nn.Module) -> str:
    """A layer's class, and what it has that no adapter has which is folded here."""
    unread = _unread(module)
    return f"{type(module).__name__} ({', '.join(unread)})" if unread else type(module).__name__


def _unread(module: Any) -> list[str]:
    """Parts of a layer's adapters that are not folded; AdaLoRA's layers are LoRA's with a third factor."""
    parts = {key: key.partition(".")[0] for key in module.state_dict()}
    own = getattr(module, "adapter_layer_names", ())
    return sorted({part for key, part in parts.items() if part in own and not is_read(key)})


def _is_known(module: Any) -> bool:
    if _is_saved(module):
        return hasattr(module, "modules_to_save")
    if _unread(module):
        return False
    classes = {one.__name__ for one in type(module).__mro__}
    variants = getattr(module, "lora_variant", {}).values()
    return (
        bool(classes & set(_TUNERS))
        and "ParamWrapper" not in classes
        and all(type(one).__name__.startswith("Dora") for one in variants)
    )
