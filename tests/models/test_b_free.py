"""B-Free: the mean of five crops in token space, explained on the whole image."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checkpoints import write
from PIL import Image

import xai
from xai.attention import crops_of, grid_of
from xai.attr import create

WIDTH, SIDE, PATCHES, REGISTERS = 64, 14, 3, 2
CROP = SIDE * PATCHES


def state(seed=0):
    """Names and shapes as timm's DINOv2 with registers has them, its patch embedding beside the others."""
    shapes = {
        "patch_embed.proj.weight": (WIDTH, 3, SIDE, SIDE),
        "patch_embed.proj.bias": (WIDTH,),
        "cls_token": (1, 1, WIDTH),
        "reg_token": (1, REGISTERS, WIDTH),
        "pos_embed": (1, PATCHES**2, WIDTH),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
        "head.weight": (1, WIDTH),
        "head.bias": (1,),
    }
    for n in range(2):
        block = {
            "norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,),
            "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,),
            "attn.qkv.weight": (3 * WIDTH, WIDTH), "attn.qkv.bias": (3 * WIDTH,),
            "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,),
            "mlp.fc1.weight": (96, WIDTH), "mlp.fc1.bias": (96,),
            "mlp.fc2.weight": (WIDTH, 96), "mlp.fc2.bias": (WIDTH,),
            "ls1.gamma": (WIDTH,), "ls2.gamma": (WIDTH,),
        }  # fmt: skip
        shapes |= {f"blocks.{n}.{name}": shape for name, shape in block.items()}
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in shapes.items()}


def published(weights, pixels):
    """The published pass, written apart: the patches of the whole image, five windows of tokens, the mean."""
    w = weights
    grid = F.conv2d(pixels, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=SIDE)
    n = PATCHES
    if min(grid.shape[-2:]) < n:
        tall, wide = (-(-n // length) for length in grid.shape[-2:])
        grid = grid.repeat(1, 1, tall, wide)[..., :n, :n]
    top, left = ((length - n) // 2 for length in grid.shape[-2:])
    windows = (
        grid[..., top : top + n, left : left + n], grid[..., :n, :n], grid[..., -n:, :n],
        grid[..., -n:, -n:], grid[..., :n, -n:],
    )  # fmt: skip
    logits = []
    for window in windows:
        x = window.flatten(2).mT + w["pos_embed"]
        x = torch.cat([w["cls_token"].repeat(len(x), 1, 1), w["reg_token"].repeat(len(x), 1, 1), x], 1)
        for i in range(2):
            of = {k.removeprefix(f"blocks.{i}."): v for k, v in w.items() if k.startswith(f"blocks.{i}.")}
            y = F.layer_norm(x, (WIDTH,), of["norm1.weight"], of["norm1.bias"], 1e-6)
            q, k, v = (y @ of["attn.qkv.weight"].mT + of["attn.qkv.bias"]).chunk(3, -1)
            y = (q @ k.mT / WIDTH**0.5).softmax(-1) @ v
            x = x + of["ls1.gamma"] * (y @ of["attn.proj.weight"].mT + of["attn.proj.bias"])
            y = F.layer_norm(x, (WIDTH,), of["norm2.weight"], of["norm2.bias"], 1e-6)
            y = F.gelu(y @ of["mlp.fc1.weight"].mT + of["mlp.fc1.bias"])
            x = x + of["ls2.gamma"] * (y @ of["mlp.fc2.weight"].mT + of["mlp.fc2.bias"])
        x = F.layer_norm(x, (WIDTH,), w["norm.weight"], w["norm.bias"], 1e-6)
        logits.append(x[:, 0] @ w["head.weight"].mT + w["head.bias"])
    return torch.stack(logits).mean(0)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    path = tmp_path_factory.mktemp("b_free") / "model_epoch_best.pth"
    torch.save({"model": state()}, path)
    return xai.load(Path(__file__).parents[2] / "configs" / "b_free.yaml", weights=path)


def noise(height, width, batch=2):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("size", [(CROP, CROP), (70, 98), (75, 110), (42, 56), (28, 98), (14, 14)])
def test_the_logit_is_that_of_five_windows_of_tokens(classifier, size):
    pixels = noise(*size)
    with torch.no_grad():
        logits = classifier(pixels)
        torch.testing.assert_close(logits[:, 1:] * 2, published(state(), pixels), rtol=1e-4, atol=1e-5)
    assert classifier.describe()["family"] == "b_free"
    assert classifier.labels == ("real", "fake")
    assert classifier.preprocessing.mean == pytest.approx((0.485, 0.456, 0.406))


METHODS = {
    "integrated_mask_gradient": {"n_steps": 2},
    "gradient_weighted_attention": {},
    "cp_lrp": {},
    "input_x_gradient": {},
    "occlusion": {},
}


@pytest.mark.parametrize("method", METHODS)
def test_a_map_is_the_sum_over_crops(classifier, method):
    pixels = noise(70, 98)
    attribution = create(method, classifier, **METHODS[method])
    whole = attribution.attribute_patches(pixels, target=1)
    assert whole.shape == (2, 5, 7)
    expected = torch.zeros(2, 5, 7)
    for top, left in ((1, 2), (0, 0), (2, 0), (2, 4), (0, 4)):
        crop = pixels[..., top * SIDE :, left * SIDE :][..., :CROP, :CROP]
        expected[:, top : top + 3, left : left + 3] += attribution.attribute_patches(crop, target=1) / 5
    torch.testing.assert_close(whole, expected, rtol=1e-4, atol=1e-6)
    each = attribution.attribute_patches(pixels, target=torch.tensor([0, 1]))
    torch.testing.assert_close(each[1], whole[1], rtol=1e-4, atol=1e-6)


def test_complete_maps_stay_complete(classifier):
    """The map's sum is the mean over crops of what each gains from no patch to all."""
    pixels = noise(70, 98)
    method = create("integrated_mask_gradient", classifier, n_steps=64)
    _, delta = method.attribute(pixels, target=1, return_convergence_delta=True)
    assert delta.abs().max() < 1e-2
    layers = method.attribute_layers(pixels, target=1)
    assert layers.shape == (2, 2, 1, 5, 7)
    whole = method.attribute_patches(pixels, target=1)
    torch.testing.assert_close(layers.sum((1, 2)), whole, rtol=1e-4, atol=1e-5)


def test_a_small_image_is_shown_repeated_and_each_patch_gets_all_of_its_copies(classifier):
    pixels = noise(28, 70, batch=1)
    crops = crops_of(classifier, 28, 70)
    assert len(crops.places) == 1
    whole = create("gradient_weighted_attention", classifier).attribute_patches(pixels, target=1)
    tiled = create("gradient_weighted_attention", classifier).attribute_patches(crops.cut(pixels), target=1)
    assert whole.shape == (1, 2, 5)
    torch.testing.assert_close(whole.sum(), tiled.sum())
    torch.testing.assert_close(whole[0, 0, :3], tiled[0, 0] + tiled[0, 2])
    assert not whole[0, :, 3:].any()  # the fourth column on is never seen


def test_controls_lie_on_the_whole_image(classifier):
    centre = create("center_prior", classifier).attribute_patches(noise(70, 98), target=1)
    assert centre.shape == (2, 5, 7)
    assert centre[0].argmax() == 17


def test_an_image_of_any_size_is_explained_where_it_was_seen(classifier, tmp_path):
    noise_image = np.random.default_rng(0).integers(0, 256, (75, 110, 3), np.uint8)
    Image.fromarray(noise_image).save(tmp_path / "a.png")
    (explanation,) = xai.explain(tmp_path / "a.png", classifier, method="gradient_weighted_attention")
    assert explanation.maps["fake"].shape == (5, 7)
    assert explanation.geometry.box == (0, 0, 98, 70)
    assert grid_of(classifier, noise(70, 98)).rows == 5


def test_it_is_told_from_other_vits_of_timm(tmp_path):
    wrong = {name: value for name, value in state().items() if name != "reg_token"}
    with pytest.raises(xai.core.ModelError, match="No known detector"):
        xai.load(write(tmp_path, wrong))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (
            "timetransformer",
            ("backbone.embeddings.time_embeddings", "backbone.encoder.layer.0.temporal_attention.qkv.weight"),
        ),
        ("videomae", ("backbone.encoder.layer.0.attention.attention.q_bias", "fc_norm.weight")),
        ("xclip", ("backbone.vision_model.encoder.layers.0.message_fc.weight", "fc_norm.weight")),
    ],
)
def test_detectors_that_read_clips_are_refused_by_name(tmp_path, name, keys):
    weights = {key: torch.zeros(2, 2) for key in (*keys, "head.weight", "head.bias")}
    for lines in ([], [f"model_name: {name}"]):
        with pytest.raises(xai.core.ModelError, match=rf"{name} \(.*not rebuilt here: it reads a clip of"):
            xai.load(write(tmp_path, weights, *lines))
