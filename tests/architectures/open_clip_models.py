"""open_clip's models, tiny, saved as open_clip saves a model for the hub; labels are the texts."""

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from architectures.architecture import LABELS, SIDE, Architecture
from architectures.timm_narrow import register

# open_clip: by name, its image tower in the words of its configuration, and what stands beside it there
_VIT: dict[str, Any] = {"image_size": SIDE, "layers": 3, "width": 64, "head_width": 16, "patch_size": 16}
_VIT_32 = {**_VIT, "patch_size": 32, "image_size": 128}


def _tower(name: str, pool: str, projection: str | None, size: int = SIDE) -> dict[str, Any]:
    return {"timm_model_name": name, "timm_pool": pool, "timm_proj": projection, "image_size": size}


_CUSTOM: dict[str, Any] = {"custom_text": True}
_BIASED = {**_CUSTOM, "init_logit_bias": -10}
OPEN_CLIP: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ViT-B-32": (_VIT_32, {}),
    "ViT-B-32-quickgelu": (_VIT_32, {"quick_gelu": True}),
    "ViT-B-16": (_VIT, {}),
    "EVA02-B-16": (_tower("tiny_eva02_clip", "token", None), _CUSTOM),
    "ViT-B-16-SigLIP": (_tower("tiny_siglip", "map", "none"), _BIASED),
    "ViT-B-32-SigLIP2-256": (_tower("tiny_siglip2", "map", "none", 128), _BIASED),
    "PE-Core-T-16-384": (_tower("tiny_pe_core", "map", None), _CUSTOM),
    "vit_medium_patch16_gap_256": (_tower("tiny_gap", "", "linear"), {}),
    "RN50": ({"image_size": SIDE, "layers": (1, 1, 1, 1), "width": 16, "patch_size": None}, {}),
    "convnext_base": (_tower("tiny_convnext", "", "linear"), {}),
    "MobileCLIP-S1": (_tower("tiny_mci1", "avg", None), _CUSTOM),
    "MobileCLIP2-S0": (_tower("tiny_mci0", "avg", None), _CUSTOM),
    "MobileCLIP2-B": (_tower("tiny_mci", "token", None), _CUSTOM),
    "ViTamin-S": (_tower("tiny_vitamin", "", "linear"), _CUSTOM),
    "swin_base_patch4_window7_224": (_tower("tiny_swin", "", "linear"), {}),
    "coca_ViT-B-32": (
        {**_VIT_32, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
        _CUSTOM,
    ),
}
_COCA_TEXT = {"embed_cls": True, "output_tokens": True}


def _config(name: str) -> dict[str, Any]:
    tower, beside = OPEN_CLIP[name]
    register(tower.get("timm_model_name", ""))
    text: dict[str, Any] = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 48, "vision_cfg": tower, "text_cfg": text, **beside}
    if name.startswith("coca"):
        config["text_cfg"] = {**text, **_COCA_TEXT}
        config["multimodal_cfg"] = {**text, "attn_pooler_heads": 2}
    return {"model_cfg": config, "preprocess_cfg": {}}


def make(name: str) -> nn.Module:
    import open_clip

    with TemporaryDirectory() as folder:
        (Path(folder) / "open_clip_config.json").write_text(json.dumps(_config(name)))
        return open_clip.create_model(f"local-dir:{folder}", load_weights=False)


def save(name: str, model: nn.Module, folder: Path) -> tuple[Any, dict[str, Any]]:
    (folder / "open_clip_config.json").write_text(json.dumps(_config(name)))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return f"open_clip:local-dir:{folder}", {"labels": LABELS}


def architectures() -> list[Architecture]:
    return [
        Architecture(f"open_clip/{name}", tower["image_size"], partial(make, name), partial(save, name))
        for name, (tower, _) in OPEN_CLIP.items()
    ]
