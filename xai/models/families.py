"""Published detectors: which one a state dict is, told by its keys, and the classifier made of it."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xai.core import ConfigError, ModelError
from xai.core.classes import check_labels
from xai.models.adapter_settings import AdapterSettings, read_settings
from xai.models.adapters import Folded, fold
from xai.models.checkpoint import State, open_checkpoint
from xai.models.classifier import Classifier, LoadOptions
from xai.models.detector import Detector, DetectorConfig
from xai.models.layouts import FAMILIES, Family
from xai.models.preprocessing import published_for, read_preprocessing_keys
from xai.models.state_dict import unwrapped
from xai.models.tensors import check_floating, some

_FACTORY = 'Any other: factory: "package.module:Class" in the YAML, for a module of your own.'
_DEEPEST_ROOT = 3  # parts of a name that a training loop may put before the detector's own


def list_families() -> list[Family]:
    """Every layout of a published detector that is known, those that are refused by name too."""
    return list(FAMILIES)


def build_detector(state: State, config: DetectorConfig) -> tuple[Detector, str, Folded]:
    """Rebuild a detector of a known family from its weights, in eval mode.

    Returns:
        The detector, its family's name, and what was folded into plain weights, which it holds.

    Raises:
        ModelError: When no family has such keys, the family is not rebuilt here, or keys are missing or left
            over.
        ConfigError: When the YAML names another family, or lacks what the weights cannot say.
    """
    for family in FAMILIES:
        if family.name == config.model_name and family.build is None:
            raise _refused(family)
    state = _without_ignored(unwrapped(_without_ignored(state, config)), config)
    folded = fold(*with_adapter(state, config.adapter))
    state = folded.state
    check_floating(state)
    for root in _roots(state):
        inner = _named(
            _without_ignored({k[len(root) :]: v for k, v in state.items() if k.startswith(root)}, config)
        )
        beside = [key for key in state if not key.startswith(root)]
        if fitting := [family for family in FAMILIES if _fits(family, inner, folded.kinds, bool(beside))]:
            break
    else:
        raise ModelError(
            f"No known detector has such weights: {some(list(state))}.",
            f"Known: {', '.join(dict.fromkeys(one.name for one in FAMILIES if one.build))}. {_FACTORY}",
        )
    named = [family for family in fitting if config.model_name in (None, family.name)]
    if not named:
        raise ConfigError(
            f"The YAML says model_name: {config.model_name}, but the weights are those of {fitting[0].name}.",
            f"Take the YAML they were trained with, or set model_name: {fitting[0].name}, mean and std.",
        )
    family = named[0]
    if family.build is None:
        raise _refused(family)
    return family.build(_share(inner, family, beside), config).eval(), family.name, folded


def with_adapter(
    state: State, adapter: AdapterSettings | Path | None
) -> tuple[State, AdapterSettings | None]:
    """The weights and what they do not say of their adapters, as a detector's YAML names both.

    Args:
        state: Weights.
        adapter: Settings, or an `adapter_config.json` of adapters among the weights; or the folder of an
            adapter that goes on them.

    Raises:
        ModelError: When a file is missing or broken, or an adapter is not one of these weights.
    """
    if not isinstance(adapter, Path):
        return state, adapter
    # which import transformers, and that takes seconds
    from xai.models.adapter_folder import read_adapter
    from xai.models.folder import ADAPTER, read_json

    if adapter.is_dir():
        return read_adapter(adapter / ADAPTER).on_weights(state)
    return state, read_settings(read_json(adapter), str(adapter), on_base=False)


def _refused(family: Family) -> ModelError:
    return ModelError(
        f"{family.name} ({family.source}) is not rebuilt here: {family.refused}",
        "Wrap its published code in a module, pixels in and logits out, and load that: factory: "
        '"package.module:Class" in a YAML file, with --trust-code. Methods that only call the model explain '
        "it then, if it answers the same way twice.",
    )


def _without_ignored(state: State, config: DetectorConfig) -> State:
    return {key: value for key, value in state.items() if not key.startswith(config.ignore_keys)}


def _roots(state: State) -> Iterator[str]:
    """Beginnings of names behind which a detector may lie: none, then what a training loop may have added."""
    yield ""
    for depth in range(1, _DEEPEST_ROOT + 1):
        parts = (key.split(".") for key in state)
        yield from dict.fromkeys(".".join(one[:depth]) + "." for one in parts if len(one) > depth)


def _named(state: State) -> State:
    """UniversalFakeDetect publishes its last layer alone."""
    is_layer = state.keys() == {"weight", "bias"} and state["weight"].ndim == 2
    return {f"fc.{key}": value for key, value in state.items()} if is_layer else state


def _fits(family: Family, state: State, folded: list[str], beside: bool) -> bool:
    """Whether these are its keys.

    Args:
        family: A layout.
        state: Names without what stands before all of the detector's.
        folded: What was folded into the weights.
        beside: Whether there are names that do not begin so.
    """
    if (family.folded is not None and family.folded not in folded) or family.not_folded in folded:
        return False
    if family.alone and (beside or not all(key.startswith(family.parts) for key in state)):
        return False
    return all(any(key.startswith(prefix) for key in state) for prefix in (*family.parts, *family.marks))


def _share(state: State, family: Family, beside: list[str]) -> list[State]:
    """The weights of each part.

    Args:
        state: Names without what stands before all of the detector's.
        family: Its.
        beside: Names that do not begin so.

    Raises:
        ModelError: There are others.
    """
    parts: list[State] = [{} for _ in family.parts]
    left = list(beside)
    for key, value in state.items():
        if key.startswith(family.unused):
            continue
        for prefix, part in zip(family.parts, parts, strict=True):
            if key.startswith(prefix):
                part[key.removeprefix(prefix)] = value
                break
        else:
            left.append(key)
    if left:
        raise ModelError(
            f"The checkpoint has keys that {family.name} does not know: {some(left)}.",
            "If they are no part of the forward pass, name how they begin under ignore_keys: in the YAML.",
        )
    return parts


def load_detector(
    config: DetectorConfig, weights: Path, options: LoadOptions, source: Mapping[str, object]
) -> Classifier:
    """The detector in a checkpoint.

    Args:
        config: What the weights cannot say.
        weights: The checkpoint.
        options: Of the caller; its labels count before the configuration's.
        source: Where the configuration is, for `Classifier.describe`.

    Raises:
        ConfigError: When the configuration contradicts the weights or says too little.
        ModelError: When the weights are missing, broken or do not fit.
    """
    checkpoint = open_checkpoint(weights, config.weights_key, config.ignore_keys)
    module, family, folded = build_detector(checkpoint.state, config)
    tower: Any = module.tower
    published, trained_at = published_for(family, getattr(tower, "config", None))
    preprocessing = read_preprocessing_keys(config, published, trained_at)
    labels = options.labels or config.labels
    check_labels(labels, module.classes, options.name)
    description = {
        **source,
        "family": family,
        "weights": str(weights),
        **checkpoint.description,
        "folded": folded.kinds,
        **folded.notes,
        "feature": module.feature,
        "normalize_features": module.normalize,
    }
    if module.feature == "every_layer":
        description["read_in"] = "every layer: presets of the last layers show a part of the evidence"
        warnings.warn(
            f"{options.name} reads the class token of every layer, so a map of the last layers shows a part "
            "of its evidence: take all_layers, or a method that removes patches.",
            stacklevel=2,
        )
    return options.classifier(module, labels, preprocessing, description)
