"""AG-CAM, Grad-ECLIP and DAAM against their formulas on attention in the open, in double precision."""

import pytest
import torch
from open_attention import Opened, opened, relative
from torch import Tensor
from vit_zoo import CLASSES, ZOO, build, pixels

from xai.attr import DAAM, AttentionGuidedCAM, GradECLIP, create
from xai.core import Margin

NAMES = ["attention_guided_cam", "grad_eclip", "daam"]


def ag_cam(open_model: Opened, y: Tensor, layers: range) -> Tensor:
    gradients = open_model.gradients(y)
    total = torch.zeros(())
    for i in layers:
        for r in open_model.rows(i):
            gates = 1 / (1 + torch.exp(-open_model.layers[i].scores[:, :, r]))
            positive = torch.where(gradients[i][:, :, r] > 0, gradients[i][:, :, r], 0.0)
            total = total + (gates * positive).sum(1) / len(open_model.rows(i))
    return total


def scaled(row: Tensor, prefix: int) -> Tensor:
    """To 0 … 1 over the patches, image by image."""
    images = []
    for image in row:
        patches = image[prefix:]
        images.append((image - patches.min()) / (patches.max() - patches.min()))
    return torch.stack(images)


def grad_eclip(open_model: Opened, y: Tensor, layers: range) -> Tensor:
    """As the paper writes it: channel weights from the gradient of the output, values, likeness."""
    gradients, prefix = open_model.gradients(y, "output"), open_model.seen.grid.prefix
    total = torch.zeros(())
    for i in layers:
        layer = open_model.layers[i]
        joined = [x.transpose(1, 2).flatten(2) for x in (layer.query, layer.key, layer.value, gradients[i])]
        for r in open_model.rows(i):
            query, key, value, weight = joined[0][:, r], joined[1], joined[2], joined[3][:, r]
            alike = torch.cosine_similarity(query[:, None], key, dim=-1)
            channels = (weight[:, None] * value * scaled(alike, prefix)[..., None]).sum(-1)
            total = total + channels / len(open_model.rows(i))
    return total.relu()


def daam(open_model: Opened, y: Tensor, layers: range) -> Tensor:
    gradients, prefix = open_model.gradients(y, "output"), open_model.seen.grid.prefix
    total = torch.zeros(())
    for i in layers:
        layer, of_layer = open_model.layers[i], torch.zeros(())
        for r in open_model.rows(i):
            drawn = layer.attention[:, :, r, :, None] * layer.value
            weight = gradients[i][:, :, r, None].relu()
            of_layer = of_layer + (weight * drawn).sum((1, 3)) / len(open_model.rows(i))
        total = total + scaled(of_layer.relu(), prefix).nan_to_num(0)  # a layer without any
    return total


ORACLES = {"attention_guided_cam": ag_cam, "grad_eclip": grad_eclip, "daam": daam}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ZOO)
def test_equals_the_formula_on_attention_in_the_open(name: str, family: str) -> None:
    open_model = opened(family)
    depth = open_model.seen.layers
    for layers in (range(depth), range(depth - 1, depth)):
        y = open_model.logits[:, 2] - open_model.logits[:, 0]
        expected = open_model.seen.grid.to_patches(ORACLES[name](open_model, y, layers).detach())
        method = create(name, open_model.model, layers=list(layers))
        assert relative(method.attribute_patches(open_model.x, Margin(2, 0)), expected) <= 1e-10
        assert (expected > 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_default_layers_are_the_papers(name: str) -> None:
    model, x = build("clip"), pixels()
    layers = "last_layer" if name == "grad_eclip" else "all_layers"
    torch.testing.assert_close(
        create(name, model).attribute_patches(x, 1),
        create(name, model, layers=layers).attribute_patches(x, 1),
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ["clip", "clip_mean_pooled"])
def test_targets_share_one_forward_pass_and_do_not_mix(name: str, family: str) -> None:
    model, x, calls = build(family), pixels(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    method = create(name, model)
    method.attribute_patches(x, 0)  # finds the layout
    calls.clear()
    targets = [*range(CLASSES), Margin(1)]
    together = method.attribute_targets(x, targets)
    assert len(calls) == 1
    for got, target in zip(together, targets, strict=True):
        torch.testing.assert_close(got, method.attribute_patches(x, target))


@pytest.mark.parametrize("name", NAMES)
def test_chunks_of_rows_do_not_change_the_map(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build("clip_mean_pooled"), pixels()
    whole = create(name, model).attribute_patches(x, 1)
    monkeypatch.setattr(
        "xai.attr.recorded_attention.row_chunks",
        lambda call, rows, copies: [list(rows)[i : i + 5] for i in range(0, len(rows), 5)],
    )
    torch.testing.assert_close(create(name, model).attribute_patches(x, 1), whole)


def test_signed_heads_fuse_to_the_map() -> None:
    model, x = build("clip"), pixels()
    heads = GradECLIP(model).attribute_layers(x, 1)
    torch.testing.assert_close(heads.sum((1, 2)).relu(), GradECLIP(model).attribute_patches(x, 1))
    heads = DAAM(model, normalize=False).attribute_layers(x, 1)
    assert heads.shape == (2, 6, 4, 4, 4)
    expected = DAAM(model, normalize=False).attribute_patches(x, 1)
    torch.testing.assert_close(heads.sum(2).relu().sum(1), expected)
    heads = AttentionGuidedCAM(model).attribute_layers(x, 1)
    expected = AttentionGuidedCAM(model).attribute_patches(x, 1)
    torch.testing.assert_close(heads.relu().sum((1, 2)), expected)


def test_daam_of_the_first_layers_is_a_frame_of_the_accumulation() -> None:
    model, x = build("clip"), pixels()
    frames = torch.stack([DAAM(model, range(i + 1)).attribute_patches(x, 1) for i in range(6)])
    assert (frames.diff(dim=0) >= -1e-6).all()
    torch.testing.assert_close(frames[-1], DAAM(model).attribute_patches(x, 1))
