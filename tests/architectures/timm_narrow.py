"""Families of timm's that cannot be made tiny by arguments: entered into timm's own list of models."""

from functools import partial
from importlib import import_module
from typing import Any

from torch import nn

from architectures.architecture import SIDE

WIDTHS = (16, 24, 32, 40)
ONE_EACH = (1, 1, 1, 1)
VIT: dict[str, Any] = {"embed_dim": 48, "depth": 3, "num_heads": 4, "img_size": SIDE}
SWIN: dict[str, Any] = {
    "embed_dim": 24,
    "depths": (1, 1, 2, 1),
    "num_heads": (1, 2, 4, 8),
    "img_size": SIDE,
    "window_size": 4,
}
# of models whose functions take no other widths: module, what it creates them with, variant
_FIXED: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "tiny_mixer": (
        "mlp_mixer",
        "_create_mixer",
        "mixer_s16_224",
        {"patch_size": 16, "num_blocks": 3, "embed_dim": 48, "img_size": SIDE},
    ),
    "tiny_nest": (
        "nest",
        "_create_nest",
        "nest_tiny",
        {"img_size": SIDE, "embed_dims": (24, 32, 40), "num_heads": (2, 2, 4), "depths": (1, 1, 2)},
    ),
    "tiny_poolformer": (
        "metaformer",
        "_create_metaformer",
        "poolformer_s12",
        {"dims": WIDTHS, "depths": ONE_EACH},
    ),
    "tiny_focalnet": (
        "focalnet",
        "_create_focalnet",
        "focalnet_tiny_srf",
        {"embed_dim": 16, "depths": (1, 1, 2, 1)},
    ),
    "tiny_gcvit": (
        "gcvit",
        "_create_gcvit",
        "gcvit_xxtiny",
        {"depths": ONE_EACH, "embed_dim": 16, "num_heads": (2, 2, 4, 8), "img_size": SIDE},
    ),
    "tiny_mvitv2": ("mvitv2", "_create_mvitv2", "mvitv2_tiny", {"img_size": SIDE, "cfg_variant": "tiny"}),
    "tiny_volo": (
        "volo",
        "_create_volo",
        "volo_d1_224",
        {
            "img_size": SIDE,
            "layers": ONE_EACH,
            "embed_dims": (24, 48, 48, 48),
            "num_heads": (2, 4, 4, 4),
        },
    ),
}


# of image towers that open_clip builds by their name alone: the model that each is a narrow one of
_NARROW: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny_eva02_clip": ("eva02_base_patch16_clip_224", VIT),
    "tiny_siglip": ("vit_base_patch16_siglip_224", VIT),
    "tiny_siglip2": ("vit_base_patch32_siglip_256", {**VIT, "img_size": 128}),
    "tiny_pe_core": ("vit_pe_core_tiny_patch16_384", VIT),
    "tiny_gap": ("vit_medium_patch16_gap_256", VIT),
    "tiny_mci": ("vit_base_mci_224", {"depth": 1, "img_size": SIDE}),
    "tiny_vitamin": ("vitamin_small_224", {"depth": 2, "img_size": SIDE}),
    "tiny_mci0": ("fastvit_mci0", {"embed_dims": (32, 32, 64, 64), "layers": ONE_EACH}),
    "tiny_mci1": ("fastvit_mci1", {"embed_dims": (32, 32, 64, 64), "layers": ONE_EACH}),
    "tiny_convnext": ("convnext_base", {"dims": WIDTHS, "depths": ONE_EACH}),
    "tiny_swin": (
        "swin_base_patch4_window7_224",
        SWIN,
    ),
}


def register(name: str) -> None:
    """Teach timm a tiny model of a family, where its own functions or open_clip take no other widths."""
    import timm

    if timm.is_model(name) or name not in {**_FIXED, **_NARROW}:
        return
    module = timm.models
    if name in _NARROW:
        variant, fixed = _NARROW[name]
        create = partial(timm.create_model, variant)
    else:
        where, creator, variant, fixed = _FIXED[name]
        module = import_module(f"timm.models.{where}")
        create = partial(getattr(module, creator), variant)
    if name == "tiny_mvitv2":
        module.model_cfgs["tiny"] = module.MultiScaleVitCfg(depths=ONE_EACH, embed_dim=16)

    def entry(pretrained: bool = False, **options: Any) -> nn.Module:
        made = create(pretrained=pretrained, **{**fixed, **options})
        made.pretrained_cfg["architecture"] = name
        return made

    entry.__name__, entry.__module__ = name, module.__name__
    timm.models.register_model(entry)
