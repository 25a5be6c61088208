"""Published detectors: which one a state dict is, told by its keys, and how each is rebuilt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xai.core import ConfigError, ModelError
from xai.core.target import check_labels
from xai.models.checkpoint import State, open_checkpoint
from xai.models.classifier import Classifier, LoadOptions
from xai.models.clip import build_clip_tower
from xai.models.detector import Detector, DetectorConfig, build_head
from xai.models.folding import fold
from xai.models.preprocessing import PUBLISHED, read_preprocessing_keys
from xai.models.state_dict import forms, unwrapped
from xai.models.tensors import check_floating, some
from xai.models.tower import TowerOptions


@dataclass(frozen=True)
class Family:
    """A detector layout.

    Args:
        name: As in `model_name`.
        parts: Key prefixes that must all be there.
        build: Rebuilds it: weights of each part → module.
        folded: What folding must have found …
        not_folded: … and must not have found.
        unused: Key prefixes that its forward pass does not use.
    """

    name: str
    parts: tuple[str, ...]
    build: Callable[[list[State], DetectorConfig], Detector]
    folded: str | None = None
    not_folded: str | None = None
    unused: tuple[str, ...] = ()


def build_detector(state: State, config: DetectorConfig) -> tuple[Detector, str, list[str]]:
    """Rebuild a detector of a known family from its weights, in eval mode.

    Returns:
        The detector, its family's name, and what was folded into plain weights.

    Raises:
        ModelError: When no family has such keys, or keys are missing or left over.
        ConfigError: When the YAML names another family, or lacks what the weights cannot say.
    """
    state, folded = fold(_without_ignored(unwrapped(_without_ignored(state, config)), config))
    check_floating(state)
    # a training loop's own attribute (Lightning's `model.`) may stand before all names
    for inner, _ in forms(state):
        if fitting := _fitting(part := _named(_without_ignored(inner, config)), folded):
            state = part
            break
    else:
        raise ModelError(
            f"No known detector has such weights: {some(list(state))}.",
            f"Known: {', '.join(dict.fromkeys(family.name for family in FAMILIES))}. "
            'Any other: factory: "package.module:Class" in the YAML.',
        )
    named = [family for family in fitting if config.model_name in (None, family.name)]
    if not named:
        raise ConfigError(
            f"The YAML says model_name: {config.model_name}, but the weights are those of {fitting[0].name}.",
            f"Take the YAML they were trained with, or set model_name: {fitting[0].name}, mean and std.",
        )
    family = named[0]
    return family.build(_share(state, family), config).eval(), family.name, folded


def _without_ignored(state: State, config: DetectorConfig) -> State:
    return {key: value for key, value in state.items() if not key.startswith(config.ignore_keys)}


def _named(state: State) -> State:
    """UniversalFakeDetect publishes its last layer alone."""
    is_layer = state.keys() == {"weight", "bias"} and state["weight"].ndim == 2
    return {f"fc.{key}": value for key, value in state.items()} if is_layer else state


def _fitting(state: State, folded: list[str]) -> list[Family]:
    return [
        family
        for family in FAMILIES
        if all(any(key.startswith(part) for key in state) for part in family.parts)
        and (family.folded is None or family.folded in folded)
        and family.not_folded not in folded
    ]


def _share(state: State, family: Family) -> list[State]:
    parts: list[State] = [{} for _ in family.parts]
    left = []
    for key, value in state.items():
        for prefix, part in zip(family.parts, parts, strict=True):
            if key.startswith(prefix) and not key.startswith(family.unused):
                part[key.removeprefix(prefix)] = value
                break
        else:
            left.append(key)
    left = [key for key in left if not key.startswith(family.unused)]
    if left:
        raise ModelError(
            f"The checkpoint has keys that {family.name} does not know: {', '.join(sorted(left))}.",
            "If they are no part of the forward pass, name how they begin under ignore_keys: in the YAML.",
        )
    return parts


def _tower(state: State, config: DetectorConfig) -> Any:
    """A vision tower with these weights, in eval mode; transformers, which takes seconds, only for DINO."""
    state = {key: value for key, value in state.items() if not key.endswith("embeddings.position_ids")}
    options = TowerOptions(config.num_attention_heads, config.hidden_act)
    if any(key.removeprefix("vision_model.") == "embeddings.class_embedding" for key in state):
        return build_clip_tower(state, options)
    from xai.models.pretrained import build_dino_tower

    return build_dino_tower(state, options)


def _normalize(config: DetectorConfig) -> bool | None:
    """Whether the YAML says that the head reads the L2-normalised feature, in its own word or GenD's."""
    if config.normalize_features is None and config.head is not None:
        return config.head == "LinearNorm"
    return config.normalize_features


def _pooled(normalize: bool) -> Callable[[list[State], DetectorConfig], Detector]:
    """Pooled feature → head; `normalize` holds where the YAML does not say otherwise."""

    def build(parts: list[State], config: DetectorConfig) -> Detector:
        weights, head = parts
        tower = _tower(weights, config)
        return Detector(
            tower,
            build_head(head, tower.config.hidden_size, config.head_activation),
            "pooled",
            normalize=normalize if (stated := _normalize(config)) is None else stated,
        )

    return build


def _gend(parts: list[State], config: DetectorConfig) -> Detector:
    weights, head = parts
    normalize = _normalize(config)
    if normalize is None:
        raise ConfigError(
            "Whether a GenD head reads the L2-normalised feature is not in its weights.",
            "Say it in the YAML: head: LinearNorm (normalised) or head: linear.",
        )
    # DINO towers are stored as `backbone`
    weights = {key.removeprefix("backbone."): value for key, value in weights.items()}
    tower = _tower(weights, config)
    classify = build_head(head, tower.config.hidden_size, config.head_activation)
    # of a DINO tower too: it pools by taking the class token
    return Detector(tower, classify, "pooled", normalize=normalize)


def _universal_fake_detect(parts: list[State], config: DetectorConfig) -> Detector:
    if not isinstance(config.backbone, str):
        raise ConfigError(
            "The weights hold only a head; they need the tower that it was trained on.",
            "Say it in the YAML: backbone: local:DIR or backbone: hf:openai/clip-vit-large-patch14.",
        )
    tower = load_projected_tower(config.backbone)
    head = build_head(parts[0], tower.config.projection_dim, config.head_activation)
    return Detector(tower, head, "projected", normalize=bool(config.normalize_features))


def _prompts(parts: list[State], config: DetectorConfig) -> Detector:
    from xai.models.prompts import build_prompt_variant

    vision, text, projection, context = parts
    return build_prompt_variant(_tower(vision, config), text, projection, context, config)


# in this order: the first whose parts are all there, of those that the YAML's model_name allows
FAMILIES = (
    Family("effort", ("backbone.", "head."), _pooled(normalize=False), folded="residual_svd"),
    Family("clip", ("backbone.", "head."), _pooled(normalize=False), not_folded="residual_svd"),
    Family("clip_enhanced", ("vision_encoder.", "text_encoder.", "projection.", "ctx"), _prompts),
    Family("clip_enhanced", ("feature_extractor.", "model.linear."), _pooled(normalize=True), folded="peft"),
    Family(
        "gend",
        ("feature_extractor.", "model.linear."),
        _gend,
        unused=("feature_extractor.visual_projection.",),
    ),
    Family("universalfakedetect", ("fc.",), _universal_fake_detect),
)


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
    kind = tower.config.model_type
    # the position embeddings of CLIP are not interpolated, those of DINO are
    trained_at = tower.config.image_size if kind == "clip_vision_model" else None
    preprocessing = read_preprocessing_keys(config, PUBLISHED.get(family) or PUBLISHED[kind], trained_at)
    labels = options.labels or config.labels
    check_labels(labels, module.classes, options.name)
    description = {
        **source,
        "family": family,
        "weights": str(weights),
        **checkpoint.description,
        "folded": folded,
        "normalize_features": module.normalize,
    }
    return options.classifier(module, labels, preprocessing, description)


def load_projected_tower(place: str) -> Any:
    """The CLIPVisionModelWithProjection at "local:DIR" or "hf:ORG/NAME", in eval mode."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from xai.models.folder import read_config
    from xai.models.pretrained import complete_from_hub, from_hub

    source, _, rest = place.partition(":")
    if source not in ("local", "hf") or not rest:
        raise ConfigError(f"backbone: {place!r} is neither local:DIR nor hf:ORG/NAME.")
    raw = read_config(rest)
    config = from_hub(CLIPVisionConfig.from_pretrained, rest)
    # a whole CLIP says it once for both towers
    config.projection_dim = raw.get("projection_dim", config.projection_dim)
    return complete_from_hub(CLIPVisionModelWithProjection.from_pretrained, rest, config=config)
