"""Transformer input sampling against NumPy's clusters and tokens that are really dropped."""

import numpy as np
import pytest
import torch
from planted import WIDTH as CHANNELS
from planted import Planted, planted_image
from torch import Tensor, nn
from vit_zoo import LAYERS, WIDTH, PlainViT, build, pixels

from xai.attention import find_layout, mask_patches
from xai.attr import TransformerInputSampling
from xai.attr.tis import centroids, largest
from xai.core import Margin, ModelError, UsageError

BLOCK = {
    "clip": "model.encoder.layers.{}",
    "clip_mean_pooled": "model.vision_model.encoder.layers.{}",
    "dinov3": "model.model.layer.{}",
    "siglip_pooling_head": "model.encoder.layers.{}",
    "torch_encoder": "encoder.layers.{}",
    "vit": "model.vit.layers.{}",
}


def lloyd(points: np.ndarray, count: int) -> np.ndarray:
    """k-means as in the textbook, point by point."""
    centres = np.stack([points[i * len(points) // count] for i in range(count)])
    label = None
    for _ in range(100):
        new = [int(np.argmin([np.sum((p - c) ** 2) for c in centres])) for p in points]
        if new == label:
            break
        label = new
        for k in range(count):
            members = [p for p, of in zip(points, label, strict=True) if of == k]
            if members:
                centres[k] = np.mean(members, axis=0)
    return centres


def expected_masks(model: nn.Module, x: Tensor, block: str, prefix: int, count: int) -> np.ndarray:
    """(count, 16) bool: the eight largest places of each centroid of one image."""
    kept = []
    hooks = [
        model.get_submodule(block.format(i)).register_forward_hook(
            lambda *io: kept.append(io[-1] if isinstance(io[-1], Tensor) else io[-1][0])
        )
        for i in range(LAYERS)
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    points = np.concatenate([tokens[0, prefix:].double().numpy().T for tokens in kept])
    assert points.shape == (LAYERS * WIDTH, 16)
    masks = np.zeros((count, 16), dtype=bool)
    for mask, centre in zip(masks, lloyd(points, count), strict=True):
        mask[np.argsort(-centre)[:8]] = True
    return masks


def weighted(masks: np.ndarray, scores: list[float]) -> np.ndarray:
    total = sum(s * m.astype(float) for s, m in zip(scores, masks, strict=True))
    times = masks.sum(0)
    return np.where(times > 0, total / np.maximum(times, 1), 0).reshape(4, 4)


@pytest.mark.parametrize("name", ["clip", "vit", "dinov3"])
def test_equals_clusters_and_masks_one_by_one(name: str) -> None:
    model, x = build(name), pixels(1)
    grid = find_layout(model).grid(32, 32)
    masks = expected_masks(model, x, BLOCK[name], grid.prefix, 12)
    scores = []
    for mask in masks:
        with torch.no_grad(), mask_patches(model, torch.from_numpy(mask)[None], grid):
            scores.append(float(model(x).double().softmax(1)[0, 1]))
    got = TransformerInputSampling(model, 12).attribute_patches(x, 1)[0]
    np.testing.assert_allclose(got.numpy(), weighted(masks, scores), rtol=1e-4)


def test_equals_a_model_that_gets_only_the_tokens_kept() -> None:
    model, x = build("torch_encoder"), pixels(1)
    assert isinstance(model, PlainViT)
    masks = expected_masks(model, x, BLOCK["torch_encoder"], 1, 12)
    scores = []
    for mask in masks:
        with torch.no_grad():
            tokens = model.conv_proj(x).flatten(2).transpose(1, 2)[:, mask]
            read = model.encoder(torch.cat([model.class_token, tokens], 1))[:, 0]
            z = model.head(read)[0].double()
        scores.append(float(z[2] - z[[0, 1]].logsumexp(0)))
    got = TransformerInputSampling(model, 12, value="log_odds").attribute_patches(x, 2)[0]
    np.testing.assert_allclose(got.numpy(), weighted(masks, scores), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["clip_mean_pooled", "siglip_pooling_head"])
def test_pixels_are_replaced_where_tokens_cannot_be_hidden(name: str) -> None:
    model, x = build(name), pixels(1)
    with pytest.raises(ModelError, match='operator="mean"'):
        TransformerInputSampling(model, 12).attribute_patches(x, 1)
    masks = expected_masks(model, x, BLOCK[name], find_layout(model).prefix, 12)
    scores = []
    for mask in masks:
        hidden = torch.from_numpy(~mask).view(4, 4).repeat_interleave(8, 0).repeat_interleave(8, 1)
        with torch.no_grad():
            y = model(torch.where(hidden, x.mean((2, 3), keepdim=True), x)).double().softmax(1)[0]
        scores.append(float(y[1] - y[0]))
    got = TransformerInputSampling(model, 12, operator="mean").attribute_patches(x, Margin(1, 0))[0]
    np.testing.assert_allclose(got.numpy(), weighted(masks, scores), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("operator", ["token", "mean"])
def test_planted_patches_are_found(operator: str) -> None:
    got = TransformerInputSampling(Planted(), operator=operator).attribute_patches(planted_image(5, 10), 1)
    assert set(got.flatten().topk(2).indices.tolist()) == {5, 10}


def test_masks_that_keep_everything_give_the_probability() -> None:
    model, x = build("clip"), pixels()
    probability = model(x).softmax(1)[:, 1].detach()
    got = TransformerInputSampling(model, 4, keep=1.0).attribute_patches(x, 1)
    torch.testing.assert_close(got, probability[:, None, None].expand(2, 4, 4), rtol=1e-4, atol=1e-6)


def test_centroids_are_the_means_of_those_nearest_to_them() -> None:
    points = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    centres = centroids(points, 7)
    label = torch.cdist(points, centres).argmin(1)
    torch.testing.assert_close(centres, torch.stack([points[label == k].mean(0) for k in range(7)]))
    assert torch.equal(centroids(points, 300), points)
    assert torch.equal(centroids(points, 999), points)
    same = torch.ones(6, 3)
    assert torch.equal(centroids(same, 2), same[:2])


def test_a_mask_keeps_its_share_and_at_least_one() -> None:
    maps = torch.tensor([[3.0, 1.0, 2.0, 0.0]])
    assert largest(maps, 0.5).tolist() == [[True, False, True, False]]
    assert largest(maps, 0.01).tolist() == [[True, False, False, False]]


def test_a_thousand_passes_by_default() -> None:
    model = Planted()
    method = TransformerInputSampling(model)
    method.attribute_patches(planted_image(3), 1)  # finds the blocks
    model.passes = 0
    method.attribute_targets(planted_image(3), [0, 1])
    assert model.passes == 1 + 2 * CHANNELS  # blocks × channels are fewer than the masks asked for
    assert method.n_masks + 1 == method.info.forwards == 1000


@pytest.mark.parametrize("options", [{"n_masks": 0}, {"keep": 0.0}, {"keep": 1.1}, {"value": "odds"}])
def test_wrong_options_are_told(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        TransformerInputSampling(build("clip"), **options)
