"""Attention attribution against autograd through scaled attention in the open, and completeness."""

import pytest
import torch
from open_attention import opened, relative
from vit_zoo import CLASSES, ZOO, build, pixels

from xai.attention import record_attention, scale_attention
from xai.attr import AttentionAttribution, GradientWeightedAttention
from xai.core import Margin, ModelError, UsageError


@pytest.mark.parametrize("family", ZOO)
def test_equals_the_formula_on_attention_in_the_open(family: str) -> None:
    plain, expected = opened(family), 0
    depth = plain.seen.layers
    layers = [2, depth - 1]
    for layer in layers:
        gradient = torch.zeros(())
        for k in (1, 2, 3):
            scaled = opened(family, plain.x, {layer: k / 3})
            y = scaled.logits[:, 2] - scaled.logits[:, 0]
            gradient = gradient + scaled.gradients(y)[layer] / 3
        attr = plain.layers[layer].attention * gradient
        expected = expected + attr[:, :, plain.rows(layer)].mean(2).sum(1) / len(layers)
    method = AttentionAttribution(plain.model, layers, n_steps=3)
    got = method.attribute_patches(plain.x, Margin(2, 0))
    assert relative(got, plain.seen.grid.to_patches(expected.detach())) <= 1e-10


@pytest.mark.parametrize("family", ["clip", "clip_mean_pooled", "siglip_pooling_head"])
def test_one_step_is_signed_gradient_weighted_attention(family: str) -> None:
    model, x = build(family), pixels()
    plain = GradientWeightedAttention(model, "last_4_layers", clamp=None).attribute_patches(x, 1)
    got = AttentionAttribution(model, n_steps=1).attribute_patches(x, 1)
    assert relative(got, plain * 4) <= 1e-5  # heads are summed, not averaged


@pytest.mark.parametrize("family", ["vit", "siglip", "siglip_pooling_head"])
def test_the_last_layer_is_complete(family: str) -> None:
    """What is read of the last layer sums, over all tokens, to the change of the score."""
    model, x = build(family).double(), pixels().double()
    method = AttentionAttribution(model, "last_layer", n_steps=400, internal_batch_size=200)
    seen = method._probe(x, ())
    last = seen.layers - 1
    with torch.no_grad(), scale_attention(model, {last: torch.zeros(1)}, seen.grid.tokens):
        nothing = model(x)[:, 1]
    rise = model(x)[:, 1].detach() - nothing
    rows = 1 if seen.pooling else len(seen.rows)
    total = method._layer(seen, x, [1], (), last)[0].sum((1, 2)) * rows
    assert (total - rise).abs().max() <= 0.01 * rise.abs().max()


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_internal_batches_do_not_change_the_map(size: int) -> None:
    model, x = build("vit"), pixels(2)
    bias = torch.tensor([[0.0, 1.0, 0.0], [0.5, -1.0, 0.0]])
    whole = AttentionAttribution(model, n_steps=6).attribute_patches(x, [1, 0], bias)
    sizes = []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    method = AttentionAttribution(model, n_steps=6, internal_batch_size=size)
    torch.testing.assert_close(method.attribute_patches(x, [1, 0], bias), whole, rtol=1e-4, atol=1e-7)
    assert max(sizes) <= max(size, 2)


def test_targets_share_the_forward_passes_and_do_not_mix() -> None:
    model, x, calls = build("clip"), pixels(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    method = AttentionAttribution(model, n_steps=3)
    method.attribute_patches(x, 0)  # finds the layout
    calls.clear()
    targets = [*range(CLASSES), Margin(1)]
    together = method.attribute_targets(x, targets)
    assert len(calls) == 4  # layers
    for got, target in zip(together, targets, strict=True):
        torch.testing.assert_close(got, method.attribute_patches(x, target), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("family", ["clip", "torch_encoder", "siglip_pooling_head"])
def test_a_factor_of_one_changes_nothing_and_one_of_zero_silences_the_layer(family: str) -> None:
    model, x = build(family), pixels()
    tokens = 16 if "siglip" in family else 17
    with torch.no_grad():
        plain = model(x)
        with scale_attention(model, {3: torch.ones(2)}, tokens):
            torch.testing.assert_close(model(x), plain)
        with (
            scale_attention(model, {3: torch.tensor([0.0, 0.5])}, tokens),
            record_attention(model, tokens=tokens, gradients=False) as recording,
        ):
            changed = model(x)
        with record_attention(model, tokens=tokens, gradients=False) as unscaled:
            model(x)
    assert not torch.allclose(changed, plain)
    assert (recording.calls[3].output[0] == 0).all()
    torch.testing.assert_close(recording.calls[3].output[1], unscaled.calls[3].output[1] / 2)
    assert torch.equal(recording.calls[3].value, unscaled.calls[3].value)
    assert torch.overrides._get_current_function_mode_stack() == []


def test_what_cannot_be_scaled_is_told() -> None:
    model, x = build("clip"), pixels(3)
    too_few = pytest.raises(ModelError, match="given for 2 images; attention runs on 3")
    with too_few, scale_attention(model, {0: torch.ones(2)}, 17):
        model(x)
    with pytest.raises(ModelError, match=r"layers \[6\]"), scale_attention(model, {6: torch.ones(1)}, 17):
        model(x)


@pytest.mark.parametrize("options", [{"n_steps": 0}, {"internal_batch_size": 0}], ids=str)
def test_wrong_options_are_told(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        AttentionAttribution(build("clip"), **options)
