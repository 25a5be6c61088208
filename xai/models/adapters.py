"""Adapters of PEFT folded into the weights they change, from tensors alone; PEFT itself is not needed.

docs/weights.md says which kinds are folded, and which model is meant where PEFT's own passes differ.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from xai.core import ConfigError, ModelError
from xai.models.adapter_rules import MERGE, Layer, adapted, is_idle, kind_of, rank_of
from xai.models.checkpoint import State
from xai.models.tensors import some

_PREFIX = "base_model.model."
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
# a name that patterns of rank and alpha are made of: no expression of them can take long to match
_PATTERN = re.compile(r"\^?(?:[\w.*]|\\\.|\\d\+?|\[[\w-]+\]\+?|\(\w+(?:\|\w+)*\))+")
_MOST_REPEATS = 3
_LONGEST_PATTERN = 300
Classes = Mapping[str, type] | None  # of a module's inner modules, by name
# LoRA that starts elsewhere than at the base's own weights changes these before training
_PLAIN_START = (True, False, None, "gaussian", "eva", "orthogonal")


class AdapterSettings(BaseModel):
    """What the weights of an adapter do not say, by the names of PEFT's `adapter_config.json`.

    Args:
        lora_alpha: α of LoRA and DoRA.
        alpha: α of LoHa and LoKr.
        r: Rank, where no factor of a LoKr shows it.
        alpha_pattern: α of modules whose names end so.
        rank_pattern: The same for the rank.
        use_rslora: Whether s is α/√r instead of α/r.
        fan_in_fan_out: Whether square weights are (in, out), as in Conv1D.
        out_proj_twice: Whether the out-projection of an adapted nn.MultiheadAttention counts its change
            twice, as PEFT up to 0.21 computes it, merged or not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lora_alpha: float | None = None
    alpha: float | None = None
    r: int | None = Field(default=None, gt=0)
    alpha_pattern: dict[str, float] = {}
    rank_pattern: dict[str, int] = {}
    use_rslora: bool = False
    fan_in_fan_out: bool = False
    out_proj_twice: bool = True

    def scale(self, module: str, kind: str, rank: int | None) -> float:
        """The factor s of a module's adapter.

        Raises:
            ConfigError: When α, or the rank where shapes do not show it, is not known.
        """
        if kind in ("ia3", "ln_tuning"):
            return 1.0
        name = "alpha" if kind in ("loha", "lokr") else "lora_alpha"
        alpha = _matching(self.alpha_pattern, module, getattr(self, name))
        rank = rank or _matching(self.rank_pattern, module, self.r)
        if alpha is None or rank is None:
            lacks = name if alpha is None else "r"
            raise ConfigError(
                f"The checkpoint holds {kind} adapters; their {lacks} is not in the weights ({module}).",
                f"Say it in the YAML, adapter: {{{lacks}: …}}, or name the adapter_config.json that was "
                "saved with them: adapter: adapter_config.json.",
            )
        return alpha / rank**0.5 if self.use_rslora and kind in ("lora", "dora") else alpha / rank


def _matching(patterns: Mapping[str, Any], module: str, default: Any) -> Any:
    for pattern, value in patterns.items():
        repeats = pattern.count("+") + pattern.count("*")
        if len(pattern) > _LONGEST_PATTERN or repeats > _MOST_REPEATS or not _PATTERN.fullmatch(pattern):
            raise ConfigError(
                f"The pattern {pattern[:80]!r} of an adapter's rank or alpha is not read here.",
                f"Name the modules in full. {MERGE}",
            )
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


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
    return {key.replace(_PREFIX, "", 1): value for key, value in state.items()}


def holds_adapters(state: State) -> bool:
    """Whether adapters of any kind stand in a state dict."""
    return any(_TUNED.match(key) or _FOREIGN.search(key) or _SAVED.search(key) for key in state)


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
                folded.notes.setdefault("adapters_unread", []).append(name)  # pyright: ignore[reportAttributeAccessIssue]
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
    plain[key], changed = adapted(Layer(name, plain[key], bias, transposed), parts, scale)
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


def read_settings(content: Mapping[str, Any], source: str, on_base: bool) -> AdapterSettings:
    """The settings in an `adapter_config.json`.

    Args:
        content: Its keys.
        source: For messages.
        on_base: Whether the adapter goes on a base that was saved apart from it.

    Raises:
        ModelError: When it says that the adapter does more than is folded here.
    """
    kind = content.get("peft_type")
    if kind not in ("LORA", "LOHA", "LOKR", "IA3", "LN_TUNING"):
        raise ModelError(f"{source} is of an adapter that is not folded here ({str(kind)[:40]}).", MERGE)
    start = content.get("init_lora_weights")
    if on_base and start not in _PLAIN_START:
        raise ModelError(
            f"{source} says init_lora_weights: {str(start)[:40]}; such an adapter goes on a base whose "
            "weights were changed before training, not on those that lie there.",
            MERGE,
        )
    more = [key for key, value in content.items() if value and key not in _KNOWN]
    if more:
        raise ModelError(f"{source} says {', '.join(sorted(more)[:5])}, which is not folded here.", MERGE)
    said = {k: v for k, v in content.items() if k in AdapterSettings.model_fields and v is not None}
    try:
        return AdapterSettings.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{source} says a {key} that is none: {first['msg']}.", "Fetch it again.") from None


# of adapter_config.json: what is read, and what changes nothing outside of training
_KNOWN = frozenset({
    *AdapterSettings.model_fields,
    "auto_mapping", "base_model_name_or_path", "bias", "decompose_both", "decompose_factor",
    "ensure_weight_tying", "eva_config", "exclude_modules", "feedforward_modules", "inference_mode",
    "init_ia3_weights", "init_lora_weights", "init_weights", "layers_pattern", "layers_to_transform",
    "lora_bias", "lora_dropout", "megatron_core", "module_dropout", "modules_to_save", "peft_type",
    "peft_version", "qalora_group_size", "rank_dropout", "rank_dropout_scale", "revision", "target_modules",
    "task_type", "use_dora", "use_effective_conv2d",
})  # fmt: skip
