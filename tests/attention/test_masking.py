"""Masked patches are gone: the logits are those with their tokens really dropped; the model is untouched."""

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from maskable import MASKABLE, made, some
from torch import Tensor, nn
from vit_zoo import LAYERS, ZOO, build, pixels

from xai.attention import (
    attention_rows,
    check_maskable,
    grid_of,
    mask_patches,
    probe,
    record_attention,
)
from xai.attention.diagnose import ExplicitAttention
from xai.core import ModelError, PatchGrid


@contextmanager
def dropped(model: nn.Module, present: Tensor, grid: PatchGrid):
    """Really remove tokens after the embedding, with what belongs to their positions further up."""
    kept = torch.cat([torch.ones(grid.prefix, dtype=torch.bool), present]).nonzero()[:, 0]

    def tokens(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output[:, kept]

    def rotation(module: nn.Module, args: Any, output: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        return tuple(x[present] for x in output)

    def bias(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output[..., kept, :][..., kept]

    hooks = {"RelativePositionBias": bias, "RopePositionEmbedding": rotation, "Embeddings": tokens}
    with ExitStack() as stack:
        found = 0
        for module in model.modules():
            name = type(module).__name__
            hook = next((h for end, h in hooks.items() if name.endswith(end)), None)
            if hook is not None and not name.endswith("PatchEmbeddings"):
                found += 1
                stack.callback(module.register_forward_hook(hook).remove)
            if isinstance(module, nn.TransformerEncoder):
                found += 1
                before = module.register_forward_pre_hook(lambda m, args: (args[0][:, kept],))
                stack.callback(before.remove)
        assert found
        yield


@pytest.mark.parametrize("name", MASKABLE)
def test_masking_is_dropping_the_tokens(name: str) -> None:
    model, x = made(name), pixels(3)
    grid, present = grid_of(model, x), some()
    check_maskable(probe(model, x, (), grid))
    with torch.no_grad():
        with mask_patches(model, present, grid):
            masked = model(x)
        for index in range(3):
            with dropped(model, present[index], grid):
                torch.testing.assert_close(
                    masked[index], model(x[index : index + 1])[0], atol=1e-5, rtol=1e-5
                )
        assert (masked - model(x)).abs().max() > 1e-2


@pytest.mark.parametrize("name", ZOO)
def test_all_present_changes_nothing(name: str) -> None:
    model, x = build(name), pixels(2)
    grid = grid_of(model, x)
    for presence in (torch.ones(2, 16, dtype=torch.bool), torch.ones(1, 16)):
        with torch.no_grad(), mask_patches(model, presence, grid):
            masked = model(x)
        torch.testing.assert_close(masked, model(x), atol=2e-6, rtol=1e-5)


class SoftAttention(ExplicitAttention):
    """Attention in the open: every weight times its key's presence, rows scaled back to sum 1."""

    def __init__(self, presence: Tensor, grid: PatchGrid):
        super().__init__(grid.tokens)
        self.weight = torch.cat([presence.new_ones(len(presence), grid.prefix), presence], dim=1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
        if options.get("attn_mask") is not None:
            scores = scores + options["attn_mask"]
        weights = scores.exp() * self.weight[:, None, None]
        return weights / weights.sum(-1, keepdim=True) @ value


@pytest.mark.parametrize("name", ["clip", "beit_class_token", "torch_encoder"])
def test_soft_presence_and_its_gradient(name: str) -> None:
    model, x = made(name).double(), pixels(2).double()
    grid = grid_of(model, x)
    presence = torch.rand(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 0.9 + 0.1
    answers = []
    for block in (lambda m: mask_patches(model, m, grid), lambda m: SoftAttention(m, grid)):
        mine = presence.clone().requires_grad_()
        with block(mine):
            logits = model(x)
        (gradient,) = torch.autograd.grad(logits[:, 1].sum(), mine)
        answers.append((logits.detach(), gradient))
    assert answers[0][1].abs().max() > 1e-3
    torch.testing.assert_close(answers[0], answers[1], atol=1e-9, rtol=1e-7)


class Frozen(nn.Module):
    """A detector that runs its backbone under no_grad."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.backbone(x)


def test_gradient_of_presence_in_a_backbone_under_no_grad() -> None:
    plain, x = build("clip"), pixels(1)
    grid, gradients = grid_of(plain, x), []
    for model in (plain, Frozen(plain)):
        presence = torch.full((1, 16), 0.7, requires_grad=True)
        with mask_patches(model, presence, grid):
            logits = model(x)
        gradients += torch.autograd.grad(logits[0, 0], presence)
    torch.testing.assert_close(gradients[0], gradients[1])
    with torch.no_grad():
        with mask_patches(plain, presence, grid):
            plain(x)
        assert not torch.is_grad_enabled()


def test_inside_a_recording_the_total_mask_is_recorded() -> None:
    model, x = build("beit"), pixels(3)
    grid, present = grid_of(model, x), some()
    with record_attention(model, tokens=grid.tokens) as recording, mask_patches(model, present, grid):
        logits = model(x)
    torch.autograd.grad(logits.sum(), [call.output for call in recording.calls.values()])
    for call in recording.calls.values():
        rows = attention_rows(call, slice(None))
        assert (rows[..., grid.prefix :].transpose(1, 3)[~present] == 0).all()
        torch.testing.assert_close(rows.sum(-1), torch.ones(rows.shape[:-1]))
        torch.testing.assert_close(rows @ call.value, call.output.detach(), atol=1e-5, rtol=1e-4)


class Attention(nn.Module):
    """One attention call with given options."""

    def __init__(self, **options: Any):
        super().__init__()
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, **self.options)


def test_masks_of_the_model_itself_are_kept() -> None:
    grid, x = PatchGrid(2, 2, 1), torch.randn(3, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    present = torch.tensor([[True, False, True, True]])
    allowed = torch.rand(5, 5, generator=torch.Generator().manual_seed(1)) < 0.6
    allowed[:, 0] = True
    visible = torch.tensor([True, True, False, True, True])
    for options, own in [
        ({"attn_mask": allowed}, allowed),
        ({"is_causal": True}, torch.ones(5, 5, dtype=torch.bool).tril()),
    ]:
        model = Attention(**options)
        with mask_patches(model, present, grid):
            masked = model(x)
        torch.testing.assert_close(masked, F.scaled_dot_product_attention(x, x, x, attn_mask=own & visible))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    model, x = build("clip"), pixels(2)
    grid, present = grid_of(model, x), some(2)
    with torch.no_grad(), mask_patches(model, present, grid):
        exact = model(x)
        with torch.autocast("cpu", dtype=dtype):
            rough = model(x)
    assert (exact - rough.float()).abs().max() < 0.2 * exact.abs().max()


@pytest.mark.parametrize("name", ZOO)
def test_what_the_classifier_reads(name: str) -> None:
    model, x = build(name), pixels(2)
    seen = probe(model, x, (), grid_of(model, x))
    reads = {"clip_mean_pooled", "siglip", "beit", "dinov2", "dinov2_registers"}
    assert seen.reads_patches == (name in reads)
    if name in reads or not seen.grid.prefix:
        with pytest.raises(ModelError, match=r"cannot be removed by masking[^$]*vit-mean"):
            check_maskable(seen)
    else:
        check_maskable(seen)


def test_a_pooling_head_may_be_masked_if_another_token_stands_beside_the_patches() -> None:
    model, x = build("siglip_pooling_head"), pixels(2)
    seen = probe(model, x, (), grid_of(model, x))
    assert seen.pooling
    check_maskable(replace(seen, grid=PatchGrid(4, 4, 1)))
    with torch.no_grad(), mask_patches(model, some(2), seen.grid):
        present, masked = model(x), model(torch.where(_pixels_of(some(2)), x, -x))
    # without position-independent tokens left, what the masked patches show does not matter any more
    torch.testing.assert_close(present, masked, atol=1e-5, rtol=1e-5)


def _pixels_of(patches: Tensor) -> Tensor:
    return patches.view(-1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)


def test_errors() -> None:
    model, x = build("clip"), pixels(2)
    grid = grid_of(model, x)
    with pytest.raises(ModelError, match=r"must be \(images, 16\)"), mask_patches(model, some(2, 9), grid):
        pass
    with pytest.raises(ModelError, match="int64"), mask_patches(model, some(2).long(), grid):
        pass
    with (
        pytest.raises(ModelError, match="for 3 images; attention runs on 2"),
        mask_patches(model, some(3), grid),
    ):
        model(x)
    other = PatchGrid(5, 5, 1)
    with pytest.raises(ModelError, match="over 26 tokens"), mask_patches(model, some(2, 25), other):
        model(x)
    model.model.set_attn_implementation("eager")
    with pytest.raises(ModelError, match="set_attn_implementation"), mask_patches(model, some(2), grid):
        model(x)


def test_nothing_is_left_behind() -> None:
    model, x = build("clip"), pixels(2)
    grid, weights = grid_of(model, x), {k: v.clone() for k, v in model.state_dict().items()}
    plain = model(x)
    with pytest.raises(KeyError), torch.no_grad(), mask_patches(model, some(2), grid):
        model(x)
        raise KeyError("in the middle")
    assert torch.is_grad_enabled()
    assert torch.overrides._get_current_function_mode_stack() == []
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert torch.equal(plain, model(x))
    with record_attention(model, tokens=17, gradients=False) as recording:
        model(x)
    assert recording.layers == LAYERS
    assert all(call.mask is None for call in recording.calls.values())


def test_a_presence_for_each_layer() -> None:
    """Alike in all layers it is one presence; for layers that do not run it is an error."""
    model, x = build("clip"), pixels(3)
    grid = grid_of(model, x)
    with torch.no_grad():
        with mask_patches(model, some(), grid):
            expected = model(x)
        with mask_patches(model, some()[:, None].expand(-1, LAYERS, -1), grid):
            torch.testing.assert_close(model(x), expected)
        first = some()[:, None].repeat(1, LAYERS, 1)
        first[:, 1:] = True
        with mask_patches(model, first, grid):
            assert not torch.allclose(model(x), expected)
        with (
            pytest.raises(ModelError, match=f"for {LAYERS + 1} layers; Logits ran {LAYERS}"),
            mask_patches(model, torch.ones(1, LAYERS + 1, 16), grid),
        ):
            model(x)
