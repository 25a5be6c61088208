"""ViT-CX against SciPy's clusters and one pass a mask in double precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from planted import Planted, planted_image
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor
from vit_zoo import LAYERS, build, pixels

from xai.attention import find_layout
from xai.attr import ViTCX
from xai.attr.vit_cx import cluster_masks, complete_linkage, unit_range
from xai.core import Margin, UsageError
from xai.perturb import image_seeds

# what comes out of this module enters the last attention layer
ENTRY = {
    "clip": f"model.encoder.layers.{LAYERS - 1}.layer_norm1",
    "clip_mean_pooled": f"model.vision_model.encoder.layers.{LAYERS - 1}.layer_norm1",
    "siglip_pooling_head": "model.post_layernorm",
    "torch_encoder": f"encoder.layers.{LAYERS - 1}.norm1",
}


def expected_masks(features: np.ndarray, distance: float) -> np.ndarray:
    """(masks, patches) of (channels, patches)."""
    maps = np.stack([(f - f.min()) / (f.max() - f.min()) for f in features])
    lengths = np.linalg.norm(maps, axis=1)
    apart = 1 - maps @ maps.T / np.outer(lengths, lengths)
    np.fill_diagonal(apart, 0)
    label = fcluster(linkage(squareform(apart, checks=False), "complete"), distance, "distance")
    sums = np.stack([maps[label == k].sum(0) for k in np.unique(label)])
    return np.stack([(s - s.min()) / (s.max() - s.min()) for s in sums])


@pytest.mark.parametrize("name", ENTRY)
def test_equals_one_pass_a_mask(name: str) -> None:
    model, x, sigma = build(name), pixels(1), 0.5
    found: list[Tensor] = []
    hook = model.get_submodule(ENTRY[name]).register_forward_hook(lambda *io: found.append(io[-1].detach()))
    model(x)
    hook.remove()
    masks = expected_masks(found[0][0, find_layout(model).prefix :].double().numpy().T, 0.12)
    assert 2 <= len(masks) < 32
    generator = torch.Generator().manual_seed(image_seeds(x, 3)[0])
    noise = sigma * torch.randn(3, 32, 32, generator=generator).double()
    got = ViTCX(model, distance=0.12, noise=sigma, seed=3).attribute_patches(x, Margin(1, 2))[0]
    model, image = model.double(), x[0].double()

    def value(shown: Tensor) -> float:
        with torch.no_grad():
            p = model(shown[None]).softmax(1)[0]
        return float(p[1] - p[2])

    impacts = []
    for mask in masks:
        large = F.interpolate(torch.from_numpy(mask).view(1, 1, 4, 4), (32, 32), mode="bilinear")[0, 0]
        hidden = noise * (1 - large)
        impacts.append(value(image * large + hidden) - value(image + hidden) + value(image))
    expected = (np.array(impacts)[:, None] * masks).sum(0) / masks.sum(0)
    np.testing.assert_allclose(got.numpy(), expected.reshape(4, 4), rtol=1e-3, atol=1e-5)


def test_clusters_are_scipys() -> None:
    points = torch.rand(60, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    apart = torch.cdist(points, points)
    tree = linkage(squareform(apart.numpy(), checks=False), "complete")
    for threshold, most in ((0.5, 60), (0.8, 60), (2.0, 60), (0.0, 60), (0.0, 7), (0.5, 9)):
        got = complete_linkage(apart, threshold, most)
        by_distance = fcluster(tree, threshold, "distance")
        expected = by_distance if by_distance.max() <= most else fcluster(tree, most, "maxclust")
        same = got[:, None] == got
        assert torch.equal(same, torch.from_numpy(expected[:, None] == expected))
        assert torch.equal(got.unique(), torch.arange(expected.max()))


@pytest.mark.parametrize("target", [1, Margin(1, 0)])
def test_planted_patches_are_found(target: int | Margin) -> None:
    got = ViTCX(Planted()).attribute_patches(planted_image(5, 10), target)
    assert set(got.flatten().topk(2).indices.tolist()) == {5, 10}


def test_one_mask_gives_a_constant_where_it_shows_anything() -> None:
    got = ViTCX(build("clip"), max_masks=1).attribute_patches(pixels(1), 1).flatten().sort().values
    assert got[0] == 0  # the patch where the mask is 0
    torch.testing.assert_close(got[1:], got[1:2].expand(15))


def test_equal_channels_are_one_mask_and_no_contrast_hides_nothing() -> None:
    channel = torch.rand(1, 16)
    torch.testing.assert_close(cluster_masks(channel.expand(9, 16), 0.1, 499), unit_range(channel))
    assert torch.equal(cluster_masks(torch.full((5, 16), 3.0), 0.1, 499), torch.ones(1, 16))


def test_masks_that_hide_nothing_give_the_probability() -> None:
    model, x = build("clip"), pixels()
    method = ViTCX(model)
    method._masks = lambda *_: torch.ones(3, 16)
    expected = model(x).softmax(1)[:, 2].detach()
    got = method.attribute_patches(x, 2)
    torch.testing.assert_close(got, expected[:, None, None].expand(2, 4, 4), rtol=1e-4, atol=1e-6)


def test_the_cost_is_bounded() -> None:
    model = Planted()
    method = ViTCX(model, distance=0.0, max_masks=3)
    method.attribute_patches(planted_image(3), 1)  # finds the layer
    model.passes = 0
    method.attribute_targets(planted_image(3), [0, 1])
    assert model.passes == 2 + 2 * 3
    assert 2 + 2 * ViTCX(model).max_masks == ViTCX.info.forwards


@pytest.mark.parametrize("layer", [0, -2])
def test_any_layer(layer: int) -> None:
    x = pixels(1)
    last, other = (ViTCX(build("clip"), layer=one).attribute_patches(x, 1) for one in (-1, layer))
    assert not torch.allclose(last, other)
    with pytest.raises(UsageError, match="one is looked at"):
        ViTCX(build("clip"), layer="all_layers").attribute_patches(x, 1)


@pytest.mark.parametrize("options", [{"distance": -0.1}, {"max_masks": 0}, {"noise": -1.0}, {"value": "p"}])
def test_wrong_options_are_told(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        ViTCX(build("clip"), **options)
