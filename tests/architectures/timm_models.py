"""Families of timm's, tiny, saved as timm saves a model for the hub."""

from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from architectures.architecture import LABELS, SIDE, Architecture
from architectures.timm_narrow import ONE_EACH, SWIN, VIT, WIDTHS, register

# timm: by family, the name of a model and what makes it tiny; side of the input
_DINO = {**VIT, "img_size": 56}
_STAGES: dict[str, Any] = {"embed_dims": WIDTHS, "depths": ONE_EACH}
TIMM: dict[str, tuple[str, dict[str, Any], int]] = {
    "vit": ("vit_tiny_patch16_224", VIT, SIDE),
    "beit": ("beit_base_patch16_224", VIT, SIDE),
    "beitv2": ("beitv2_base_patch16_224", VIT, SIDE),
    "deit_distilled": ("deit_tiny_distilled_patch16_224", VIT, SIDE),
    "deit3": ("deit3_small_patch16_224", VIT, SIDE),
    "vit_clip": ("vit_base_patch16_clip_224", VIT, SIDE),
    "naflexvit": ("naflexvit_base_patch16_gap", {"embed_dim": 48, "depth": 3, "num_heads": 4}, SIDE),
    "vit_relpos": ("vit_relpos_small_patch16_224", VIT, SIDE),
    "flexivit": ("flexivit_small", VIT, SIDE),
    "vit_reg1_gap": ("vit_medium_patch16_reg1_gap_256", VIT, SIDE),
    "vit_gap": ("vit_medium_patch16_gap_240", VIT, SIDE),
    "eva02": ("eva02_tiny_patch14_224", _DINO, 56),
    "dinov2": ("vit_small_patch14_reg4_dinov2", _DINO, 56),
    "dinov3": ("vit_small_patch16_dinov3", VIT, SIDE),
    "siglip": ("vit_base_patch16_siglip_224", VIT, SIDE),
    "swin": ("swin_tiny_patch4_window7_224", SWIN, SIDE),
    "swinv2": ("swinv2_tiny_window8_256", SWIN, SIDE),
    "swin_s3": ("swin_s3_tiny_224", {**SWIN, "window_size": (4, 4, 8, 4)}, SIDE),
    "tnt": (
        "tnt_s_legacy_patch16_224",
        {
            "embed_dim": 48,
            "inner_dim": 8,
            "depth": 3,
            "num_heads_outer": 4,
            "num_heads_inner": 2,
            "img_size": SIDE,
        },
        SIDE,
    ),
    "convit": ("convit_tiny", {"depth": 3, "local_up_to_layer": 2, "img_size": SIDE}, SIDE),
    "visformer": (
        "visformer_tiny",
        {"embed_dim": 48, "depth": (1, 1, 1), "num_heads": 4, "init_channels": 8, "img_size": SIDE},
        SIDE,
    ),
    "mixer": ("tiny_mixer", {}, SIDE),
    "mobilevitv2": ("mobilevitv2_050", {}, SIDE),
    "coat": ("coat_lite_tiny", {"embed_dims": WIDTHS, "serial_depths": ONE_EACH, "img_size": SIDE}, SIDE),
    "efficientvit_m": (
        "efficientvit_m0",
        {
            "img_size": SIDE,
            "embed_dim": (16, 32, 48),
            "depth": (1, 1, 1),
            "num_heads": (2, 2, 2),
            "window_size": (4, 4, 4),
        },
        SIDE,
    ),
    "pvt_v2": ("pvt_v2_b0", {**_STAGES, "num_heads": (1, 2, 2, 4)}, SIDE),
    "mobilevit": ("mobilevit_xxs", {}, SIDE),
    "crossvit": (
        "crossvit_tiny_240",
        {"embed_dim": (24, 48), "depth": ((1, 2, 0),), "num_heads": (2, 4)},
        240,
    ),
    "vit_hybrid": ("vit_tiny_r_s16_p8_224", {**VIT, "img_size": 128}, 128),
    "pit_distilled": (
        "pit_ti_distilled_224",
        {"base_dims": (8, 8, 8), "depth": (1, 1, 1), "img_size": SIDE},
        SIDE,
    ),
    "nest": ("tiny_nest", {}, SIDE),
    "twins": (
        "twins_svt_small",
        {"embed_dims": WIDTHS, "depths": (2, 2, 2, 2), "num_heads": (2, 2, 2, 2), "img_size": SIDE},
        SIDE,
    ),
    "samvit": (
        "samvit_base_patch16",
        {**VIT, "window_size": 2, "global_attn_indexes": (2,), "neck_chans": 32},
        SIDE,
    ),
    "pit": ("pit_ti_224", {"base_dims": (8, 8, 8), "depth": (1, 1, 1), "img_size": SIDE}, SIDE),
    "cait": ("cait_xxs24_224", VIT, SIDE),
    "xcit": ("xcit_nano_12_p16_224", VIT, SIDE),
    "resnet": ("resnet18", {"channels": WIDTHS}, SIDE),
    "convnext": ("convnext_atto", {"dims": WIDTHS, "depths": ONE_EACH}, SIDE),
    "efficientnet": ("test_efficientnet", {}, SIDE),
    "hgnetv2": ("hgnetv2_b0", {}, SIDE),
    "rdnet": (
        "rdnet_tiny",
        {"num_init_features": 16, "growth_rates": (8,) * 7, "num_blocks_list": (1,) * 7},
        SIDE,
    ),
    "repvit": ("repvit_m0_9", {"embed_dim": WIDTHS, "depth": ONE_EACH}, SIDE),
    "fastvit": ("fastvit_t8", {"embed_dims": (32, 32, 64, 64), "layers": ONE_EACH}, SIDE),
    "mobilenetv4": ("mobilenetv4_conv_small_050", {}, SIDE),
    "efficientformer": ("efficientformer_l1", {**_STAGES, "depths": (1, 1, 1, 2)}, 224),
    "efficientformerv2": (
        "efficientformerv2_s0",
        {
            "img_size": SIDE,
            "depths": (1, 1, 2, 2),
            "embed_dims": (16, 24, 32, 48),
            "mlp_ratios": ((4,), (4,), (4, 4), (4, 4)),
        },
        SIDE,
    ),
    "edgenext": ("edgenext_xx_small", {"dims": WIDTHS, "depths": ONE_EACH}, SIDE),
    "efficientvit_b": ("efficientvit_b0", {"head_widths": (64, 64), "depths": (1, 1, 1, 1, 1)}, SIDE),
    "poolformer": ("tiny_poolformer", {}, SIDE),
    "focalnet": ("tiny_focalnet", {}, SIDE),
    "hiera": ("hiera_tiny_224", {"img_size": SIDE, "embed_dim": 16, "stages": (1, 1, 2, 1)}, SIDE),
    "maxvit": ("test_maxvit", {"img_size": SIDE}, SIDE),
    "coatnet": ("test_coatnet", {"img_size": SIDE}, SIDE),
    "davit": ("davit_tiny", {**_STAGES, "num_heads": (2, 2, 4, 4)}, SIDE),
    "gcvit": ("tiny_gcvit", {}, SIDE),
    "mvitv2": ("tiny_mvitv2", {}, SIDE),
    "tiny_vit": (
        "tiny_vit_5m_224",
        {"embed_dims": WIDTHS, "depths": (1, 1, 2, 1), "num_heads": (2, 2, 2, 4)},
        SIDE,
    ),
    "levit": ("levit_128s", {"img_size": SIDE, "embed_dim": (32, 48, 64), "depth": (1, 1, 1)}, SIDE),
    "volo": ("tiny_volo", {}, SIDE),
    "xception": ("legacy_xception", {}, SIDE),
}


def make(family: str) -> nn.Module:
    import timm

    name, options, _ = TIMM[family]
    register(name)
    return timm.create_model(name, pretrained=False, num_classes=len(LABELS), **options)


def save(family: str, model: nn.Module, folder: Path) -> tuple[Any, dict[str, Any]]:
    from timm.models import save_for_hf

    size = TIMM[family][2]
    data = {"input_size": (3, size, size)}
    save_for_hf(model, str(folder), data_config=data)
    return f"timm:local-dir:{folder}", {"labels": LABELS}


def architectures() -> list[Architecture]:
    return [
        Architecture(f"timm/{family}", size, partial(make, family), partial(save, family))
        for family, (_, _, size) in TIMM.items()
    ]
