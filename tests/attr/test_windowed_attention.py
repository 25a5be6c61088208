"""Gradient-weighted attention of hierarchical models against autograd through their own eager attention.

The oracle undoes windows, shifts, padding and unrolling by an index tensor sent through the model's own code,
and brings every map to pixels and then to regions by repetition and sums.
"""

from collections.abc import Callable

import pytest
import torch
import transformers as hf
from torch import Tensor, nn
from transformers.models.hiera.modeling_hiera import unroll
from vit_zoo import build, pixels
from windowed import GRID, LABELS, Logits, given, randomised, to_regions

import xai
from xai.attention import UnseenAttentionError
from xai.attention.intercept import without_traces
from xai.attr import GradientWeightedAttention, attribute_many, create
from xai.core import ModelError, UsageError


def swin(size: int | tuple[int, int], window: int = 4, shape: tuple[int, int] = (2, 2)) -> nn.Module:
    return randomised(
        hf.SwinForImageClassification(
            hf.SwinConfig(
                image_size=size,
                patch_size=4,
                embed_dim=16,
                depths=shape,
                num_heads=[2, 4],
                window_size=window,
                num_labels=2,
            )
        )
    )


def swinv2(size: int, window: int = 4) -> nn.Module:
    config = {"patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "num_labels": 2}
    return randomised(
        hf.Swinv2ForImageClassification(hf.Swinv2Config(image_size=size, window_size=window, **config))
    )


def donut(size: int) -> nn.Module:
    config = {"patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "num_labels": 2}
    return randomised(
        hf.DonutSwinForImageClassification(hf.DonutSwinConfig(image_size=size, window_size=4, **config))
    )


def pvt(size: int) -> nn.Module:
    return randomised(
        hf.PvtForImageClassification(
            hf.PvtConfig(
                image_size=size,
                hidden_sizes=[16, 24, 32, 32],
                depths=[1, 2, 1, 2],
                num_attention_heads=[1, 2, 2, 4],
                num_labels=2,
            )
        )
    )


def hiera(size: int) -> nn.Module:
    return randomised(
        hf.HieraForImageClassification(
            hf.HieraConfig(
                image_size=(size, size),
                embed_dim=32,
                depths=[1, 1, 2, 1],
                num_heads=[1, 2, 4, 8],
                num_labels=2,
            )
        )
    )


# oracle


class StopError(Exception):
    pass


def through_partition(block: nn.Module, height: int, width: int, channels: int) -> Tensor:
    """(windows, tokens) index of the stage's token, −1 for padding, as the block partitions an index."""
    index = torch.arange(1.0, height * width + 1).view(1, -1, 1).expand(-1, -1, channels)
    seen: list[Tensor] = []

    def stop(module: nn.Module, args: tuple, kwargs: dict) -> None:
        seen.append(args[0])
        raise StopError

    hook = block.attention.register_forward_pre_hook(stop, with_kwargs=True)
    norm = block.layernorm_before
    block.layernorm_before = nn.Identity()
    with pytest.raises(StopError):
        block(index, (height, width))
    block.layernorm_before = norm
    hook.remove()
    return seen[0][..., 0].round().long() - 1


def eager_maps(model: nn.Module, x: Tensor, target: int) -> list[tuple[Tensor, Tensor]]:
    """A and ∂y/∂A as the attention modules return them in eager mode."""
    model.set_attn_implementation("eager")
    maps: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda module, args, output: maps.append(output[1]))
        for name, module in model.named_modules()
        if name.endswith((".attention", ".attn"))
    ]
    logits = model(pixel_values=x, output_attentions=True).logits
    for hook in hooks:
        hook.remove()
    gradients = torch.autograd.grad(logits[:, target].sum(), maps)
    return [(a.detach().double(), g.double()) for a, g in zip(maps, gradients, strict=True)]


def of_swin(model: nn.Module, x: Tensor, target: int, clamp: bool) -> list[Tensor]:
    """(B, heads, regions) by layer."""
    products = [(a * g).clamp_min(0) if clamp else a * g for a, g in eager_maps(model, x, target)]
    found, cell = [], 4
    layers = iter(products)
    for stage in next(m for m in model.modules() if hasattr(m, "layers")).layers:
        height, width = (-(-n // cell) for n in x.shape[2:])
        for block in stage.blocks:
            product = next(layers)
            index = through_partition(block, height, width, 16 * cell // 4)
            relevance = product.sum(2).unflatten(0, (len(x), -1)).transpose(1, 2).flatten(2)
            kept = index.flatten() >= 0
            tokens = torch.zeros(*relevance.shape[:2], height * width, dtype=torch.float64)
            tokens.index_add_(2, index.flatten()[kept], relevance[:, :, kept])
            found.append(to_regions(tokens / (height * width), height, width, cell, tuple(x.shape[2:])))
        cell *= 2
    return found


def of_pvt(model: nn.Module, x: Tensor, target: int, clamp: bool) -> list[Tensor]:
    found = []
    stage_of_layer = [i for i, depth in enumerate(model.config.depths) for _ in range(depth)]
    for stage, (a, g) in zip(stage_of_layer, eager_maps(model, x, target), strict=True):
        product = (a * g).clamp_min(0) if clamp else a * g
        last = stage == 3
        rows = product[:, :, 0, 1:] if last else product.mean(2)
        reduction = model.config.sequence_reduction_ratios[stage]
        cell = 4 * 2**stage * reduction
        side = x.shape[2] // cell
        found.append(to_regions(rows, side, side, cell, tuple(x.shape[2:])))
    return found


def of_hiera(model: nn.Module, x: Tensor, target: int, clamp: bool) -> list[Tensor]:
    side, cell = x.shape[2] // 4, 4
    index = torch.arange(float(side * side)).view(1, -1, 1)
    order = unroll(index, tuple(x.shape[2:]), (4, 4), [[2, 2]] * 3)[0, :, 0].long()
    row, col = order // side, order % side
    found = []
    for a, g in eager_maps(model, x, target):
        product = (a * g).clamp_min(0) if clamp else a * g  # (B, heads, windows, queries, keys)
        windows, queries, keys = product.shape[2:]
        # windows are the inner axis of the sequence
        relevance = product.sum(3).transpose(2, 3).flatten(2) / (windows * queries)
        n = x.shape[2] // cell
        tokens = torch.zeros(*relevance.shape[:2], n * n, dtype=torch.float64)
        tokens.index_add_(2, row * n + col, relevance)
        found.append(to_regions(tokens, n, n, cell, tuple(x.shape[2:])))
        if queries < keys:  # a maximum over the outermost four of the sequence
            row, col = (place.view(4, -1)[0] // 2 for place in (row, col))
            cell *= 2
    return found


def magnitude(layers: list[Tensor]) -> float:
    return max(float(one.abs().max()) for one in layers)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable, tuple[int, int]]] = {
    "swin": (lambda: swin(64), of_swin, (64, 64)),
    "swin, padded windows": (lambda: swin(56, 3), of_swin, (56, 56)),
    "swin, padded pixels": (lambda: swin(50, 3), of_swin, (50, 50)),
    "swin, wide": (lambda: swin((32, 96)), of_swin, (32, 96)),
    "swinv2": (lambda: swinv2(64), of_swin, (64, 64)),
    "swinv2, padded windows": (lambda: swinv2(56, 3), of_swin, (56, 56)),
    "donut": (lambda: donut(64), of_swin, (64, 64)),
    "pvt": (lambda: pvt(64), of_pvt, (64, 64)),
    "hiera": (lambda: hiera(64), of_hiera, (64, 64)),
}


@pytest.mark.parametrize("name", MODELS)
def test_equals_autograd_through_the_models_own_attention(name: str) -> None:
    make, oracle, size = MODELS[name]
    x = given(size)
    classifier = xai.load(Logits(make()).eval(), LABELS, grid=GRID)
    for clamp in (None, "heads"):
        layers = oracle(make(), x, 1, clamp == "heads")
        chosen = {"mean": "all_layers", "max": "all_layers", **{str(i): i for i in range(len(layers))}}
        methods = {
            key: GradientWeightedAttention(classifier, which, "max" if key == "max" else "mean", clamp=clamp)
            for key, which in chosen.items()
        }
        found = {key: maps[0].double().flatten(1) for key, maps in attribute_many(methods, x, [1]).items()}
        for fusion in ("mean", "max"):
            heads = [one.mean(1) if fusion == "mean" else one.amax(1) for one in layers]
            expected = torch.stack(heads).mean(0)
            assert float((found[fusion] - expected).abs().max()) <= 1e-5 * magnitude(layers)
        for index, expected in enumerate(layers):
            apart = (found[str(index)] - expected.mean(1)).abs().max()
            assert float(apart) <= 1e-5 * float(expected.abs().max())


def test_images_of_a_batch_stay_apart_and_sums_are_kept() -> None:
    classifier = xai.load(Logits(swin(56, 3)).eval(), LABELS, grid=GRID)
    x = given((56, 56))
    method = GradientWeightedAttention(classifier)
    together = method.attribute_patches(x, 1)
    alone = torch.cat([method.attribute_patches(one[None], 1) for one in x])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6 * float(alone.abs().max()))
    fine = xai.load(Logits(swin(56, 3)).eval(), LABELS, grid=(14, 14))
    torch.testing.assert_close(
        GradientWeightedAttention(fine).attribute_patches(x, 1).sum((1, 2)), together.sum((1, 2))
    )


def test_what_patches_tell_each_other_counts_where_all_rows_are_asked_for() -> None:
    x = given((64, 64))
    classifier = xai.load(Logits(pvt(64)).eval(), LABELS, grid=GRID)
    got = GradientWeightedAttention(classifier, "last_layer", rows="all").attribute_patches(x, 1).double()
    attention, gradient = eager_maps(pvt(64), x, 1)[-1]
    rows = (attention * gradient).mean(2)[:, :, 1:]  # the class token's row among them
    expected = to_regions(rows, 2, 2, 32, (64, 64)).mean(1)
    assert float((got.flatten(1) - expected).abs().max()) <= 1e-5 * float(rows.abs().max())


def test_layers_of_one_stage_have_maps_per_head() -> None:
    classifier = xai.load(Logits(swin(64)).eval(), LABELS, grid=GRID)
    method = GradientWeightedAttention(classifier, [2, 3], head_fusion="max")
    maps = method.attribute_layers(given((64, 64)), 1)
    assert maps.shape == (2, 2, 4, *GRID)
    torch.testing.assert_close(method.fusion.fuse(maps), method.attribute_patches(given((64, 64)), 1))
    with pytest.raises(UsageError, match="unlike numbers of heads"):
        GradientWeightedAttention(classifier).attribute_layers(given((64, 64)), 1)


def test_attention_in_the_open_equals_fused_attention() -> None:
    x = given((64, 64))
    maps = []
    for implementation in ("sdpa", "eager"):
        model = swin(64)
        model.set_attn_implementation(implementation)
        classifier = xai.load(Logits(model).eval(), LABELS, grid=GRID)
        maps.append(GradientWeightedAttention(classifier).attribute_patches(x, 1))
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-4, atol=1e-6 * float(maps[1].abs().max()))


@pytest.mark.parametrize("name", ["vit", "dinov2", "dinov2_registers", "clip_mean_pooled"])
def test_global_attention_in_the_open_equals_fused_attention(name: str) -> None:
    """Also where the classifier reads the class token and the patches: the class token's row is read."""
    x, maps = pixels(), []
    for implementation in ("sdpa", "eager"):
        model = build(name)
        model.model.set_attn_implementation(implementation)
        maps.append(GradientWeightedAttention(model).attribute_patches(x, 1))
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-4, atol=1e-5 * float(maps[1].abs().max()))


def test_what_a_mask_hides_is_exactly_nothing_and_all_else_as_computed() -> None:
    query, key, bias = (
        torch.randn(2, 4, 9, n, generator=torch.Generator().manual_seed(n)) for n in (8, 8, 9)
    )
    key = key.roll(1, 0)
    mask = bias.clone()
    mask[1, :, :4, 4:] -= 100
    mask[1, :, 4:, :4] -= 100

    def attention(mask: Tensor) -> Tensor:
        return ((query.double() * 8**-0.5) @ key.double().transpose(-2, -1) + mask.double()).softmax(-1)

    got = without_traces(mask.requires_grad_(), query, key, None)
    assert got is not None
    hidden = mask < -50
    assert torch.equal(got[~hidden], mask[~hidden])
    (passed,) = torch.autograd.grad(got[~hidden].sum(), mask)
    assert torch.equal(passed, (~hidden).float())  # a mask may be computed from the image
    exact = attention(mask.detach())
    assert float((attention(got.detach()) - exact).abs().max()) <= 1e-13
    assert (attention(got.detach())[hidden] == 0).all() and (exact[hidden] > 0).all()


def test_a_mask_stays_as_it_is_where_nothing_would_be_gained_or_something_lost() -> None:
    query = key = torch.ones(2, 4, 9, 8)
    mask = torch.zeros(2, 1, 9, 9)
    mask[1, :, :4, 4:] = mask[1, :, 4:, :4] = -100.0
    assert without_traces(mask, query, key, None) is not mask
    for other in (None, mask < 0, mask.where(mask == 0, -torch.inf), mask * 1e36, mask / 2, mask.double()):
        assert without_traces(other, query, key, None) is other
    for longer in (query * 6, query * torch.nan):  # a hidden key might score more than all that are seen
        assert without_traces(mask, longer, key * 6, None) is mask
    assert without_traces(mask, query, key, 20.0) is mask
    mask[0, :, 0] = -100.0  # hides all keys of a row, and so none
    assert without_traces(mask, query, key, None) is mask


def test_other_attention_methods_say_that_they_cannot() -> None:
    classifier = xai.load(Logits(swin(64)).eval(), LABELS, grid=GRID)
    x = given((64, 64))
    for name in ("attention_rollout", "chefer", "legrad"):
        with pytest.raises(ModelError):
            create(name, classifier).attribute_patches(x, 1)
        both = {"one": GradientWeightedAttention(classifier), "other": create(name, classifier)}
        with pytest.raises(ModelError):
            attribute_many(both, x, [1])


def test_a_model_without_attention_is_refused() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ).eval()
    with pytest.raises(UnseenAttentionError, match="no attention"):
        GradientWeightedAttention(xai.load(model, LABELS, grid=GRID)).attribute_patches(given((64, 64)), 1)
