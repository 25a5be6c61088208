"""Random weights under the names of published detectors, tiny, beside the forward pass that each is for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import published_forwards as plain
import tiny_models as tiny
import torch
from checkpoints import write
from torch import Tensor, nn

import xai
from xai.models import Classifier

State = dict[str, Tensor]


def weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    """Noise of these shapes; gains around 1, so that no norm is idle."""
    generator = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in sorted(shapes.items())}
    return {n: v + 1 if v.ndim == 1 and n.endswith("weight") else v for n, v in state.items()}


def timm_vit(depth: int = 2, width: int = 64) -> State:
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 17, width),
        "patch_embed.proj.weight": (width, 3, 8, 8),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for block in range(depth):
        for name, size in {"attn.qkv": 192, "attn.proj": 64, "mlp.fc1": 96}.items():
            shapes[f"blocks.{block}.{name}.weight"] = (size, width)
            shapes[f"blocks.{block}.{name}.bias"] = (size,)
        shapes[f"blocks.{block}.mlp.fc2.weight"] = (width, 96)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "mlp.fc2.bias"):
            shapes[f"blocks.{block}.{name}"] = (width,)
    return weights(shapes)


def named(before: str, state: State) -> State:
    return {before + name: tensor for name, tensor in state.items()}


def linear(outputs: int, inputs: int, seed: int = 3) -> State:
    return tiny.randomize(nn.Linear(inputs, outputs), seed=seed).state_dict()


def c2p_clip() -> State:
    projection = tiny.randomize(nn.Linear(64, 24, bias=False), seed=2).state_dict()
    tower = named("vision_model.", tiny.clip_tower().state_dict())
    return named(
        "model.", {**tower, **named("visual_projection.", projection), **named("fc.", linear(1, 24))}
    )


def community_forensics() -> State:
    return named("vit.", {**timm_vit(), **named("head.", linear(1, 64))})


def openai_names(state: State) -> State:
    """As OpenAI's CLIP keeps an image tower."""
    swaps = {
        "embeddings.patch_embedding": "conv1", "embeddings.class_embedding": "class_embedding",
        "embeddings.position_embedding.weight": "positional_embedding", "pre_layrnorm": "ln_pre",
        "post_layernorm": "ln_post", "encoder.layers": "transformer.resblocks", "layer_norm": "ln_",
        "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    }  # fmt: skip
    found: State = {}
    for name, tensor in state.items():
        for old, new in swaps.items():
            name = name.replace(old, new)
        found[name] = tensor
    for kind in ("weight", "bias"):
        for block in range(2):
            at = f"transformer.resblocks.{block}"
            parts = [found.pop(f"{at}.self_attn.{one}_proj.{kind}") for one in "qkv"]
            found[f"{at}.attn.in_proj_{kind}"] = torch.cat(parts)
    return found


def uia_vit(depth: int = 9) -> State:
    more = {"c_real": torch.tensor(0.6), "c_fake": torch.tensor(0.6), "c_cross": torch.tensor(0.2)}
    middle = {"norm_middle.weight": torch.ones(64), "norm_middle.bias": torch.zeros(64)}
    return named("model.", {**timm_vit(depth), **more, **middle, **named("head.", linear(2, 128))})


def norms(*names_and_widths: tuple[str, int]) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for name, width in names_and_widths for part in parts}


def settled(state: State) -> State:
    """Variances above zero, kernels as loud as their inputs are few, and the counters of batches."""
    for name in list(state):
        if name.endswith("running_var"):
            state[name] = 0.5 + state[name].abs()
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
        elif state[name].ndim == 4:
            state[name] = state[name] * 12 / state[name][0].numel() ** 0.5
    return state


def xception() -> State:
    """Three blocks that halve, one of the middle flow, the last: widths 4 to 24."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (4, 3, 3, 3), "conv2.weight": (6, 4, 3, 3)}
    shapes |= norms(("bn1", 4), ("bn2", 6), ("bn3", 20), ("bn4", 24))
    widths = {1: (6, 8), 2: (8, 12), 3: (12, 16), 4: (16, 16), 5: (16, 18)}
    for block, (places, halves) in plain.XCEPTION.items():
        before, after = widths[block]
        for place in places:
            # the last block grows at its end, the others at their beginning
            first, grows = place == places[0], place == places[-1 if block == 5 else 0]
            inputs = before if first or block == 5 else after
            outputs = after if grows or block != 5 else before
            shapes[f"block{block}.rep.{place}.conv1.weight"] = (inputs, 1, 3, 3)
            shapes[f"block{block}.rep.{place}.pointwise.weight"] = (outputs, inputs, 1, 1)
            shapes |= norms((f"block{block}.rep.{place + 1}", outputs))
        if halves:
            shapes[f"block{block}.skip.weight"] = (after, before, 1, 1)
            shapes |= norms((f"block{block}.skipbn", after))
    for name, inputs, outputs in (("conv3", 18, 20), ("conv4", 20, 24)):
        shapes |= {
            f"{name}.conv1.weight": (inputs, 1, 3, 3),
            f"{name}.pointwise.weight": (outputs, inputs, 1, 1),
        }
    unused = {"adjust_channel.0.weight": torch.zeros(5, 24, 1, 1), "adjust_channel.0.bias": torch.zeros(5)}
    return named("backbone.", {**settled(weights(shapes)), **unused, **named("last_linear.", linear(2, 24))})


def efficientnet() -> State:
    """Seven stages of one block, the first of two: widths 6 to 18."""
    shapes: dict[str, tuple[int, ...]] = {
        "_conv_stem.weight": (6, 3, 3, 3),
        "_conv_head.weight": (20, 18, 1, 1),
    }
    shapes |= norms(("_bn0", 6), ("_bn1", 20))
    widths, kernels = (6, 4, 4, 6, 8, 10, 12, 14, 18), (3, 3, 3, 5, 3, 5, 5, 3)
    for block, kernel in enumerate(kernels):
        inputs, outputs, at = widths[block], widths[block + 1], f"_blocks.{block}"
        wide = inputs if block < 2 else 3 * inputs
        if wide != inputs:
            shapes[f"{at}._expand_conv.weight"] = (wide, inputs, 1, 1)
            shapes |= norms((f"{at}._bn0", wide))
        shapes |= {
            f"{at}._depthwise_conv.weight": (wide, 1, kernel, kernel),
            f"{at}._se_reduce.weight": (2, wide, 1, 1),
            f"{at}._se_reduce.bias": (2,),
            f"{at}._se_expand.weight": (wide, 2, 1, 1),
            f"{at}._se_expand.bias": (wide,),
            f"{at}._project_conv.weight": (outputs, wide, 1, 1),
            **norms((f"{at}._bn1", wide), (f"{at}._bn2", outputs)),
        }
    net = named("efficientnet.", settled(weights(shapes)))
    return named("backbone.", {**net, **named("last_layer.", linear(2, 20))})


def gend() -> State:
    """GenD on a Perception Encoder, trained at 32 pixels; timm's bias of the patches is not there."""
    shapes: dict[str, tuple[int, ...]] = {"attn_pool.latent": (1, 1, 64)}
    sizes = {"attn_pool.q": (64, 64), "attn_pool.kv": (128, 64), "attn_pool.proj": (64, 64)}
    sizes |= {
        "attn_pool.mlp.fc1": (96, 64),
        "attn_pool.mlp.fc2": (64, 96),
        "norm_pre": (64,),
        "attn_pool.norm": (64,),
    }
    for name, size in sizes.items():
        shapes |= {f"{name}.weight": size, f"{name}.bias": size[:1]}
    tower = {**timm_vit(), **weights(shapes, 5)}
    del tower["patch_embed.proj.bias"]
    return {**named("feature_extractor.backbone.", tower), **named("model.linear.", linear(2, 64))}


def rine_head(layers: int = 2, width: int = 64, p: int = 8) -> State:
    """Two layers in each projection, numbered as the published Sequentials with their dropout."""
    shapes: dict[str, tuple[int, ...]] = {"alpha": (1, layers, p)}
    for name, inputs in {
        "proj1.1": width,
        "proj1.4": p,
        "proj2.1": p,
        "proj2.4": p,
        "head.0": p,
        "head.3": p,
    }.items():
        shapes |= {f"{name}.weight": (p, inputs), f"{name}.bias": (p,)}
    loud = {name: 4 * tensor for name, tensor in weights(shapes, 7).items()}
    return {**loud, **named("head.6.", linear(1, p))}


def rine() -> State:
    return {**rine_head(), **named("clip.visual.", openai_names(tiny.clip_tower().state_dict()))}


def rine_logits(state: State, x: Tensor) -> Tensor:
    return plain.rine(state, tiny.clip_tower().state_dict(), x)


# checkpoint, the logits of the published forward pass, what its YAML has to say
LAYOUTS: dict[str, tuple[Callable[[], State], Callable[[State, Tensor], Tensor], list[str]]] = {
    "c2p_clip": (c2p_clip, plain.c2p_clip, []),
    "rine": (rine, rine_logits, []),
    "uia_vit": (uia_vit, plain.uia_vit, []),
    "xception": (xception, plain.xception, ["resolution: 76"]),
    "efficientnetb4": (efficientnet, plain.efficientnet, ["resolution: 76"]),
    "gend": (gend, plain.gend_perception_encoder, ["head: LinearNorm", "resolution: 32"]),
    "community_forensics": (community_forensics, plain.community_forensics, ["resize_to: 37"]),
}


def pixels(name: str, images: int) -> Tensor:
    return tiny.pixels(images, size=76 if name in ("xception", "efficientnetb4") else 32)


def expected(name: str, state: State, x: Tensor) -> Tensor:
    logits = LAYOUTS[name][1](state, x)
    return torch.cat([-logits / 2, logits / 2], 1) if logits.shape[1] == 1 else logits


def load(folder: Path, name: str, state: dict[str, Any], *lines: str) -> Classifier:
    return xai.load(write(folder, state, *LAYOUTS[name][2], *lines))
