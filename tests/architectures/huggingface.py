"""Hugging Face image classifiers, tiny, saved with the processor that transformers chooses for each."""

from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from architectures.architecture import LABELS, SIDE, Architecture
from xai.models.pretrained import quiet_transformers

# Hugging Face: by model type, the class's name before "Config" and what makes it tiny
_VIT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": 8,
}
_NAFLEX = {key: value for key, value in _VIT.items() if key != "image_size"} | {"num_patches": 64}
_TEXT = {"hidden_size": 32}
_CONV: dict[str, Any] = {"hidden_sizes": (16, 24, 32, 40), "depths": (1, 1, 2, 1)}
_PYRAMID: dict[str, Any] = {
    "hidden_sizes": (16, 24, 32, 40),
    "depths": (1, 1, 1, 1),
    "num_attention_heads": (1, 2, 2, 4),
}
_WINDOWS: dict[str, Any] = {
    "image_size": SIDE,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": (2, 2, 2),
    "num_heads": (2, 2, 4),
    "window_size": 4,
}
HUGGING_FACE: dict[str, tuple[str, dict[str, Any]]] = {
    "beit": ("Beit", {**_VIT, "use_relative_position_bias": True}),
    "bit": ("Bit", {**_CONV, "embedding_size": 16, "num_groups": 8}),
    "clip": ("CLIP", {"vision_config": _VIT, "text_config": _TEXT}),
    "convnext": ("ConvNext", _CONV),
    "convnextv2": ("ConvNextV2", _CONV),
    "cvt": ("Cvt", {"embed_dim": (16, 24, 32), "num_heads": (1, 2, 4), "depth": (1, 2, 3)}),
    "data2vec-vision": ("Data2VecVision", {**_VIT, "use_shared_relative_position_bias": True}),
    "deit": ("DeiT", _VIT),
    "dinov2": ("Dinov2", {**_VIT, "mlp_ratio": 2}),
    "dinov2_with_registers": ("Dinov2WithRegisters", {**_VIT, "mlp_ratio": 2}),
    "donut-swin": ("DonutSwin", _WINDOWS),
    "efficientnet": (
        "EfficientNet",
        {"image_size": SIDE, "width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640},
    ),
    "focalnet": (
        "FocalNet",
        {
            "image_size": SIDE,
            "embed_dim": 16,
            "hidden_sizes": (16, 24, 32),
            "depths": (1, 1, 2),
            "focal_levels": (2, 2, 2),
            "focal_windows": (3, 3, 3),
        },
    ),
    "hgnet_v2": (
        "HGNetV2",
        {
            "hidden_sizes": (16, 24, 32, 40),
            "depths": (1, 1, 1, 1),
            "embedding_size": 16,
            "stem_channels": (3, 8, 16),
            "stage_in_channels": (16, 16, 24, 32),
            "stage_mid_channels": (8, 8, 16, 16),
            "stage_out_channels": (16, 24, 32, 40),
            "stage_num_blocks": (1, 1, 1, 1),
            "stage_numb_of_layers": (2, 2, 2, 2),
        },
    ),
    "hiera": (
        "Hiera",
        {
            "image_size": (SIDE, SIDE),
            "patch_size": (3, 3),
            "patch_stride": (2, 2),
            "patch_padding": (1, 1),
            "embed_dim": 16,
            "depths": (1, 1, 2, 1),
            "num_heads": (1, 2, 2, 4),
        },
    ),
    "ijepa": ("IJepa", _VIT),
    "imagegpt": ("ImageGPT", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "vocab_size": 33}),
    "levit": (
        "Levit",
        {
            "image_size": SIDE,
            "hidden_sizes": (32, 48, 64),
            "num_attention_heads": (2, 3, 4),
            "depths": (1, 1, 1),
            "key_dim": (8, 8, 8),
        },
    ),
    "metaclip_2": ("MetaClip2", {"vision_config": _VIT, "text_config": _TEXT}),
    "mobilenet_v1": ("MobileNetV1", {"image_size": SIDE, "depth_multiplier": 0.25}),
    "mobilenet_v2": ("MobileNetV2", {"image_size": SIDE, "depth_multiplier": 0.25}),
    "mobilevit": (
        "MobileViT",
        {
            "image_size": SIDE,
            "hidden_sizes": (24, 32, 40),
            "neck_hidden_sizes": (8, 8, 16, 16, 24, 24, 64),
        },
    ),
    "mobilevitv2": ("MobileViTV2", {"image_size": SIDE, "width_multiplier": 0.25}),
    "perceiver": (
        "Perceiver",
        {
            "image_size": SIDE,
            "num_latents": 8,
            "d_latents": 32,
            "num_self_attends_per_block": 2,
            "num_self_attention_heads": 4,
        },
    ),
    "poolformer": ("PoolFormer", _CONV),
    "pp_lcnet": ("PPLCNet", {"scale": 0.25, "class_expand": 64}),
    "pvt": ("Pvt", {**_PYRAMID, "image_size": SIDE}),
    "pvt_v2": ("PvtV2", {**_PYRAMID, "image_size": SIDE}),
    "regnet": ("RegNet", {**_CONV, "embedding_size": 16, "groups_width": 8}),
    "resnet": ("ResNet", {**_CONV, "embedding_size": 16}),
    "segformer": ("Segformer", _PYRAMID),
    "siglip": ("Siglip", {"vision_config": _VIT, "text_config": _TEXT}),
    "siglip2": ("Siglip2", {"vision_config": _NAFLEX, "text_config": _TEXT}),
    "swiftformer": (
        "SwiftFormer",
        {"image_size": SIDE, "depths": (1, 1, 2, 1), "embed_dims": (16, 24, 32, 40)},
    ),
    "swin": ("Swin", _WINDOWS),
    "swinv2": ("Swinv2", _WINDOWS),
    "textnet": (
        "TextNet",
        {"image_size": (SIDE, SIDE), "hidden_sizes": (16, 16, 24, 32, 40), "stem_out_channels": 16},
    ),
    "timm_wrapper": (
        "TimmWrapper",
        {
            "architecture": "vit_tiny_patch16_224",
            "model_args": {"embed_dim": 48, "depth": 3, "num_heads": 4, "img_size": SIDE},
            "pretrained_cfg": {"input_size": (3, SIDE, SIDE), "crop_pct": 0.9, "interpolation": "bicubic"},
        },
    ),
    "vit": ("ViT", _VIT),
    "vit_msn": ("ViTMSN", _VIT),
}
# of processors that take none of size and crop_size, or other sides
_PROCESSOR: dict[str, dict[str, Any]] = {
    "imagegpt": {
        "size": {"height": 16, "width": 16},
        "clusters": [[x / 15.5 - 1, (x * 7 % 32) / 15.5 - 1, (x * 11 % 32) / 15.5 - 1] for x in range(32)],
    },
    "perceiver": {"size": {"height": SIDE, "width": SIDE}, "crop_size": {"height": 73, "width": 73}},
    "pp_lcnet": {"resize_short": 73, "crop_size": SIDE},
    "siglip2": {"patch_size": 8, "max_num_patches": 64},
}
_SHORTEST_EDGE = {
    "BitImageProcessor", "CLIPImageProcessor", "ConvNextImageProcessor", "LevitImageProcessor",
    "MobileNetV1ImageProcessor", "MobileNetV2ImageProcessor", "MobileViTImageProcessor",
    "PoolFormerImageProcessor", "TextNetImageProcessor",
}  # fmt: skip


def make(kind: str) -> nn.Module:
    import transformers as hf
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

    prefix, options = HUGGING_FACE[kind]
    # Pvt counts its classes by num_labels and not by names
    names = {"num_labels": len(LABELS)} if kind == "pvt" else {}
    config = getattr(hf, f"{prefix}Config")(**options, **names, id2label=dict(enumerate(LABELS)))
    found = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
    return (found[0] if isinstance(found, tuple) else found)(config)


def save(kind: str, model: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    import transformers as hf
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    with quiet_transformers():
        model.save_pretrained(folder)
    if kind == "timm_wrapper":  # transformers reads timm's own transform out of config.json
        return f"local:{folder}", {}
    names = IMAGE_PROCESSOR_MAPPING_NAMES.get(kind) or {"pil": "BitImageProcessorPil"}
    name = names.get("pil") or names["torchvision"]
    square = {"height": SIDE, "width": SIDE}
    plain = name.removesuffix("Pil")
    size = {"shortest_edge": SIDE} if plain in _SHORTEST_EDGE else square
    options = _PROCESSOR.get(kind, {"size": size, "crop_size": square})
    getattr(hf, name)(**options).save_pretrained(folder)
    return f"local:{folder}", {}


def architectures() -> list[Architecture]:
    return [
        Architecture(
            f"huggingface/{kind}",
            16 if kind == "imagegpt" else SIDE,
            partial(make, kind),
            partial(save, kind),
        )
        for kind in HUGGING_FACE
    ]
