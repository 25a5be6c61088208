"""How the detector of each family is rebuilt from its weights."""

from collections.abc import Callable
from typing import Any

from xai.core import ConfigError, ModelError
from xai.models.checkpoint import State
from xai.models.clip import ProjectedCLIP, build_clip_tower, from_openai
from xai.models.detector import Detector, DetectorConfig, build_head
from xai.models.perception import build_perception_encoder
from xai.models.rine import EveryLayerCLIP, build_layers_head
from xai.models.timm_vit import build_timm_vit
from xai.models.tower import TowerOptions
from xai.models.uia_vit import UiaViT


def _options(config: DetectorConfig) -> TowerOptions:
    return TowerOptions(config.num_attention_heads, config.hidden_act)


def _tower(state: State, config: DetectorConfig) -> Any:
    """A vision tower with these weights, in eval mode; transformers, which takes seconds, only for DINO."""
    state = {key: value for key, value in state.items() if not key.endswith("embeddings.position_ids")}
    if any(key.removeprefix("vision_model.") == "embeddings.class_embedding" for key in state):
        return build_clip_tower(state, _options(config))
    if "attn_pool.latent" in state:
        return build_perception_encoder(state, _options(config))
    from xai.models.pretrained import build_dino_tower

    return build_dino_tower(state, _options(config))


def _normalize(config: DetectorConfig) -> bool | None:
    """Whether the YAML says that the head reads the L2-normalised feature, in its own word or GenD's."""
    if config.normalize_features is None and config.head is not None:
        return config.head == "LinearNorm"
    return config.normalize_features


def pooled(normalize: bool) -> Callable[[list[State], DetectorConfig], Detector]:
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


def gend(parts: list[State], config: DetectorConfig) -> Detector:
    """GenD: the class token, at unit length where the YAML says so, a linear probe."""
    weights, head = parts
    normalize = _normalize(config)
    if normalize is None:
        raise ConfigError(
            "Whether a GenD head reads the L2-normalised feature is not in its weights.",
            "Say it in the YAML: head: LinearNorm (normalised) or head: linear.",
        )
    # towers of DINO and PE are stored as `backbone`
    weights = {key.removeprefix("backbone."): value for key, value in weights.items()}
    tower = _tower(weights, config)
    classify = build_head(head, tower.config.hidden_size, config.head_activation)
    # of a DINO tower too, which pools by taking the class token, and of PE, which pools by attention
    return Detector(tower, classify, "pooled", normalize=normalize)


def c2p_clip(parts: list[State], config: DetectorConfig) -> Detector:
    """C2P-CLIP: projected feature at unit length → one logit."""
    weights, projection, head = parts
    tower = ProjectedCLIP(_tower(weights, config), projection.get("weight"))
    normalize = True if (stated := _normalize(config)) is None else stated
    classify = build_head(head, tower.config.projection_dim, config.head_activation)
    return Detector(tower, classify, "projected", normalize=normalize)


def universal_fake_detect(parts: list[State], config: DetectorConfig) -> Detector:
    """UniversalFakeDetect's head on the tower that the YAML names."""
    return _on_clip(load_projected_tower(needed_tower(config)), parts[0], config)


def universal_fake_detect_whole(parts: list[State], config: DetectorConfig) -> Detector:
    """The same with the tower in the checkpoint, under OpenAI's names."""
    weights, head = parts
    state, projection = from_openai(weights)
    return _on_clip(ProjectedCLIP(build_clip_tower(state, _options(config)), projection), head, config)


def needed_tower(config: DetectorConfig) -> str:
    """The place of the tower, where a checkpoint holds a head alone.

    Raises:
        ConfigError: The YAML does not say it.
    """
    if not isinstance(config.backbone, str):
        raise ConfigError(
            "The weights hold only a head; they need the tower that it was trained on.",
            "Say it in the YAML: backbone: local:DIR or backbone: hf:openai/clip-vit-large-patch14.",
        )
    return config.backbone


def _on_clip(tower: Any, head: State, config: DetectorConfig) -> Detector:
    """The head's width says whether it reads the projected feature or the one before (penultimate)."""
    projected, pooled_width = tower.config.projection_dim, tower.config.hidden_size
    width = head["weight"].shape[-1] if "weight" in head else projected
    normalize = bool(config.normalize_features)
    if width == pooled_width != projected:
        classify = build_head(head, width, config.head_activation)
        return Detector(tower.vision_model, classify, "pooled", normalize=normalize)
    if width != projected:
        raise ModelError(
            f"The head reads {width} features; the tower gives {projected} (projected) or {pooled_width} "
            "(before the projection).",
            "Name the tower that it was trained on under backbone: in the YAML.",
        )
    return Detector(
        tower, build_head(head, projected, config.head_activation), "projected", normalize=normalize
    )


def rine(parts: list[State], config: DetectorConfig) -> Detector:
    """RINE's head on the tower that the YAML names, every layer of which is read."""
    module = load_projected_tower(needed_tower(config)).vision_model
    stated = TowerOptions(module.config.num_attention_heads, module.config.hidden_act)
    return _on_every_layer(build_clip_tower(module.state_dict(), stated, EveryLayerCLIP), parts)


def rine_whole(parts: list[State], config: DetectorConfig) -> Detector:
    """The same with the tower in the checkpoint, under OpenAI's names."""
    *head, weights = parts
    state, _ = from_openai(weights)
    return _on_every_layer(build_clip_tower(state, _options(config), EveryLayerCLIP), head)


def _on_every_layer(tower: Any, head: list[State]) -> Detector:
    layers, width = tower.config.num_hidden_layers, tower.config.hidden_size
    return Detector(tower, build_layers_head(*head, layers=layers, width=width), "every_layer")


def prompts(parts: list[State], config: DetectorConfig) -> Detector:
    """clip_enhanced's prompt variant."""
    from xai.models.prompts import build_prompt_variant

    vision, text, projection, context = parts
    return build_prompt_variant(_tower(vision, config), text, projection, context, config)


def community_forensics(parts: list[State], config: DetectorConfig) -> Detector:
    """Community Forensics: timm's ViT, class token after the last norm → one logit."""
    head, weights = parts
    tower = build_timm_vit(weights, _options(config))
    detector = Detector(tower, build_head(head, tower.config.hidden_size, config.head_activation), "pooled")
    if detector.classes != 1:
        raise ModelError(
            f"A Community Forensics detector has one logit; this one has {detector.classes}.",
            'Load another ViT of timm as timm:local-dir:DIR, or with factory: "package.module:Class".',
        )
    return detector


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


def uia_vit(parts: list[State], config: DetectorConfig) -> Detector:
    """UIA-ViT: class token and attention-weighted patches → Linear."""
    head, weights = parts
    tower = build_timm_vit(weights, _options(config), UiaViT)
    return Detector(tower, build_head(head, 2 * tower.config.hidden_size, config.head_activation), "pooled")


def feature_map(build: Callable[[State], Any]) -> Callable[[list[State], DetectorConfig], Detector]:
    """Mean over the places of the last feature map → Linear, of DeepfakeBench's convolutional networks."""

    def detector(parts: list[State], config: DetectorConfig) -> Detector:
        head, weights = parts
        mode = config.backbone_config.get("mode") if isinstance(config.backbone_config, dict) else None
        if mode is not None and str(mode).lower() != "original":
            raise ConfigError(
                f"The YAML says backbone_config: mode: {mode}, a variant that is not rebuilt here.",
                'Rebuilt is mode: original. Load others with factory: "package.module:Class" in the YAML.',
            )
        tower = build(weights)
        return Detector(tower, build_head(head, tower.width, config.head_activation), "pooled")

    return detector
