"""Forward passes of published detectors as functions of their state dicts, written without any module.

Attention is computed in the open, convolutions by their formula in `torch.nn.functional`; only the names of
the weights are shared with what is tested.
"""

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def norm(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(state: State, name: str, x: Tensor) -> Tensor:
    y = torch.einsum("...i,oi->...o", x, state[f"{name}.weight"])
    return y + state[f"{name}.bias"] if f"{name}.bias" in state else y


def heads_of(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, -1).permute(0, 2, 1, 3)


def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Output (B, N, width) and the scores before the softmax (B, heads, N, M)."""
    scores = torch.einsum("bhnd,bhmd->bhnm", q, k) / q.shape[-1] ** 0.5
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    mixed = torch.einsum("bhnm,bhme->bnhe", weights, v)
    return mixed.reshape(*mixed.shape[:2], -1), scores


def patches(kernel: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """(B, patches, width): each patch times the kernel."""
    side = kernel.shape[-1]
    tiles = F.unfold(x, side, stride=side).transpose(1, 2)
    y = tiles @ kernel.flatten(1).T
    return y if bias is None else y + bias


def clip_layers(state: State, x: Tensor, heads: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Of every layer of a CLIP tower: what its MLP reads, and what it returns (quick GELU)."""
    tokens = patches(state["embeddings.patch_embedding.weight"], None, x)
    first = state["embeddings.class_embedding"].expand(len(x), 1, -1)
    tokens = torch.cat([first, tokens], 1) + state["embeddings.position_embedding.weight"]
    tokens = norm(state, "pre_layrnorm", tokens, 1e-5)
    layer = 0
    while f"encoder.layers.{layer}.layer_norm1.weight" in state:
        at = f"encoder.layers.{layer}"
        y = norm(state, f"{at}.layer_norm1", tokens, 1e-5)
        q, k, v = (heads_of(linear(state, f"{at}.self_attn.{n}_proj", y), heads) for n in "qkv")
        tokens = tokens + linear(state, f"{at}.self_attn.out_proj", attend(q, k, v)[0])
        middle = norm(state, f"{at}.layer_norm2", tokens, 1e-5)
        hidden = linear(state, f"{at}.mlp.fc1", middle)
        tokens = tokens + linear(state, f"{at}.mlp.fc2", hidden * torch.sigmoid(1.702 * hidden))
        yield middle, tokens
        layer += 1


def clip_pooled(state: State, x: Tensor) -> Tensor:
    """(B, width)."""
    *_, (_, tokens) = clip_layers(state, x)
    return norm(state, "post_layernorm", tokens[:, 0], 1e-5)


def timm_layers(state: State, x: Tensor, heads: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Of every block of timm's ViT: its scores before the softmax, and what it returns."""
    tokens = patches(state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], x)
    tokens = torch.cat([state["cls_token"].expand(len(x), 1, -1), tokens], 1) + state["pos_embed"]
    block = 0
    while f"blocks.{block}.norm1.weight" in state:
        at = f"blocks.{block}"
        qkv = linear(state, f"{at}.attn.qkv", norm(state, f"{at}.norm1", tokens, 1e-6))
        q, k, v = (heads_of(part, heads) for part in qkv.chunk(3, -1))
        mixed, scores = attend(q, k, v)
        tokens = tokens + linear(state, f"{at}.attn.proj", mixed)
        hidden = linear(state, f"{at}.mlp.fc1", norm(state, f"{at}.norm2", tokens, 1e-6))
        gelu = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        tokens = tokens + linear(state, f"{at}.mlp.fc2", gelu)
        yield scores, tokens
        block += 1


def inside(state: State, root: str) -> dict[str, Tensor]:
    return {key[len(root) :]: value for key, value in state.items() if key.startswith(root)}


def c2p_clip(state: State, x: Tensor) -> Tensor:
    """(B, 1) logit."""
    pooled = clip_pooled(inside(state, "model.vision_model."), x)
    feature = linear(state, "model.visual_projection", pooled)
    return linear(state, "model.fc", feature / feature.square().sum(-1, keepdim=True).sqrt())


def community_forensics(state: State, x: Tensor) -> Tensor:
    """(B, 1) logit."""
    vit = inside(state, "vit.")
    *_, (_, tokens) = timm_layers(vit, x)
    return linear(vit, "head", norm(vit, "norm", tokens, 1e-6)[:, 0])


def chain(state: State, name: str, x: Tensor) -> Tensor:
    """The Linear layers of a Sequential, in the order of their numbers, a ReLU after each but the last."""
    numbers = sorted({int(key.split(".")[1]) for key in state if key.startswith(f"{name}.")})
    for number in numbers:
        x = linear(state, f"{name}.{number}", x)
        x = x.clamp_min(0) if number != numbers[-1] else x
    return x


def rine(state: State, tower: State, x: Tensor) -> Tensor:
    """(B, 1) logit; `tower` under transformers' names."""
    read = torch.stack([middle[:, 0] for middle, _ in clip_layers(tower, x)], 1)
    share = state["alpha"].exp() / state["alpha"].exp().sum(1, keepdim=True)
    summed = (share * chain(state, "proj1", read).clamp_min(0)).sum(1)
    return chain(state, "head", chain(state, "proj2", summed).clamp_min(0))


def uia_vit(state: State, x: Tensor) -> Tensor:
    """(B, 2) logits, as in evaluation, where the step is 1."""
    vit = inside(state, "model.")
    layers = list(timm_layers(vit, x))
    chosen = torch.cat([scores for scores, _ in layers[7:12]], 1)
    tokens = norm(vit, "norm", layers[-1][1], 1e-6)
    constant = torch.sigmoid(torch.tensor(-12.0 * (1 - 0.7)))
    where = torch.sigmoid(chosen[:, :, 0, 1:].mean(1))
    where = (constant + (1 - constant) * where) / where.shape[1]
    joined = torch.einsum("bn,bnd->bd", where, tokens[:, 1:])
    return linear(vit, "head", torch.cat([tokens[:, 0], joined], -1))


def batch_norm(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    mean, variance, gain, bias = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + eps).sqrt() * gain + bias


def separable(state: State, name: str, x: Tensor) -> Tensor:
    each = F.conv2d(x, state[f"{name}.conv1.weight"], padding=1, groups=x.shape[1])
    return torch.einsum("bchw,oc->bohw", each, state[f"{name}.pointwise.weight"][:, :, 0, 0])


# of each block: places of its separable convolutions in `rep`, and whether it halves the image
XCEPTION = {
    1: ((0, 3), True),
    **dict.fromkeys((2, 3), ((1, 4), True)),
    4: ((1, 4, 7), False),
    5: ((1, 4), True),
}


def xception(state: State, x: Tensor) -> Tensor:
    """(B, 2) logits, of a network of five blocks: three that halve, one of the middle, the last."""
    net = inside(state, "backbone.")
    x = batch_norm(net, "bn1", F.conv2d(x, net["conv1.weight"], stride=2), 1e-5).clamp_min(0)
    x = batch_norm(net, "bn2", F.conv2d(x, net["conv2.weight"]), 1e-5).clamp_min(0)
    for block, (places, halves) in XCEPTION.items():
        y = x
        for place in places:
            y = y.clamp_min(0) if place else y
            at = f"block{block}.rep.{place}"
            y = batch_norm(net, f"block{block}.rep.{place + 1}", separable(net, at, y), 1e-5)
        if halves:
            y = F.max_pool2d(y, 3, 2, 1)
            x = batch_norm(
                net, f"block{block}.skipbn", F.conv2d(x, net[f"block{block}.skip.weight"], stride=2), 1e-5
            )
        x = x + y
    x = batch_norm(net, "bn3", separable(net, "conv3", x), 1e-5).clamp_min(0)
    x = batch_norm(net, "bn4", separable(net, "conv4", x), 1e-5).clamp_min(0)
    return linear(net, "last_linear", x.flatten(2).mean(2))


# of each block of the tiny network: stride, zeros before and after that pad the map of a 380-pixel image
EFFICIENTNET = ((1, 1, 1), (1, 1, 1), (2, 0, 1), (2, 2, 2), (2, 0, 1), (1, 2, 2), (2, 1, 2), (1, 1, 1))


def efficientnet(state: State, x: Tensor) -> Tensor:
    """(B, 2) logits."""
    net = inside(state, "backbone.efficientnet.")

    def swish(y: Tensor) -> Tensor:
        return y / (1 + (-y).exp())

    x = swish(batch_norm(net, "_bn0", F.conv2d(x, net["_conv_stem.weight"], stride=2), 1e-3))
    for block, (stride, before, after) in enumerate(EFFICIENTNET):
        at = inside(net, f"_blocks.{block}.")
        y = x
        if "_expand_conv.weight" in at:
            y = swish(batch_norm(at, "_bn0", F.conv2d(y, at["_expand_conv.weight"]), 1e-3))
        y = F.pad(y, (before, after, before, after))
        y = F.conv2d(y, at["_depthwise_conv.weight"], stride=stride, groups=y.shape[1])
        y = swish(batch_norm(at, "_bn1", y, 1e-3))
        squeezed = y.mean((2, 3), keepdim=True)
        squeezed = swish(F.conv2d(squeezed, at["_se_reduce.weight"], at["_se_reduce.bias"]))
        y = y * torch.sigmoid(F.conv2d(squeezed, at["_se_expand.weight"], at["_se_expand.bias"]))
        y = batch_norm(at, "_bn2", F.conv2d(y, at["_project_conv.weight"]), 1e-3)
        x = x + y if x.shape == y.shape else y
    x = swish(batch_norm(net, "_bn1", F.conv2d(x, net["_conv_head.weight"]), 1e-3))
    return linear(inside(state, "backbone."), "last_layer", x.mean((2, 3)))


def perception_encoder(state: State, x: Tensor) -> Tensor:
    """(B, width) pooled feature; one head in the layers, eight in the pool; pairs turned as complex ones."""
    tokens = patches(state["patch_embed.proj.weight"], None, x)
    size, trained = int(tokens.shape[1] ** 0.5), int((state["pos_embed"].shape[1] - 1) ** 0.5)
    width = tokens.shape[-1]
    places = state["pos_embed"][:, 1:].reshape(1, trained, trained, width).permute(0, 3, 1, 2)
    if size != trained:
        places = F.interpolate(places, size=(size, size), mode="bicubic", antialias=True)
    added = torch.cat([state["pos_embed"][:, :1], places.flatten(2).transpose(1, 2)], 1)
    tokens = torch.cat([state["cls_token"].expand(len(x), 1, -1), tokens], 1) + added
    tokens = norm(state, "norm_pre", tokens, 1e-5)
    bands = width // 4
    turn = torch.ones(1 + size**2, width // 2, dtype=torch.complex64)
    for token in range(size**2):
        for band in range(bands):
            for axis, place in enumerate((token % size, token // size)):  # x, then y
                angle = (place + 1) / size * trained / 10000 ** (band / bands)
                turn[1 + token, axis * bands + band] = torch.polar(
                    torch.tensor(1.0), torch.tensor(float(angle))
                )

    def turned(y: Tensor) -> Tensor:
        return torch.view_as_real(
            torch.view_as_complex(y.unflatten(-1, (-1, 2)).contiguous()) * turn
        ).flatten(-2)

    block = 0
    while f"blocks.{block}.norm1.weight" in state:
        at = f"blocks.{block}"
        qkv = linear(state, f"{at}.attn.qkv", norm(state, f"{at}.norm1", tokens, 1e-5))
        q, k, v = (heads_of(part, 1) for part in qkv.chunk(3, -1))
        tokens = tokens + linear(state, f"{at}.attn.proj", attend(turned(q), turned(k), v)[0])
        hidden = linear(state, f"{at}.mlp.fc1", norm(state, f"{at}.norm2", tokens, 1e-5))
        tokens = tokens + linear(state, f"{at}.mlp.fc2", hidden * (1 + torch.erf(hidden / 2**0.5)) / 2)
        block += 1
    tokens = norm(state, "norm", tokens, 1e-5)
    q = heads_of(linear(state, "attn_pool.q", state["attn_pool.latent"]), 8).expand(len(x), -1, -1, -1)
    k, v = (heads_of(part, 8) for part in linear(state, "attn_pool.kv", tokens).chunk(2, -1))
    pooled = linear(state, "attn_pool.proj", attend(q, k, v)[0])
    hidden = linear(state, "attn_pool.mlp.fc1", norm(state, "attn_pool.norm", pooled, 1e-5))
    return (pooled + linear(state, "attn_pool.mlp.fc2", hidden * (1 + torch.erf(hidden / 2**0.5)) / 2))[:, 0]


def gend_perception_encoder(state: State, x: Tensor) -> Tensor:
    """(B, 2) logits of a probe that reads the feature at unit length."""
    feature = perception_encoder(inside(state, "feature_extractor.backbone."), x)
    return linear(state, "model.linear", feature / feature.square().sum(-1, keepdim=True).sqrt())
