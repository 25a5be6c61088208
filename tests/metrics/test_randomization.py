"""Cascading randomisation: it reaches everything, only that, and only a copy."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vit_zoo import CLASSES, LAYERS, PATCH, WIDTH, ZOO, PlainViT, build, pixels

from xai.attr import create
from xai.core import ModelError, UsageError
from xai.metrics import METRICS
from xai.metrics.cascade import Stage, cascade, find_stages, learned_tensors, named_stages
from xai.metrics.randomization import randomization

BLOCKS = [f"block {i}" for i in reversed(range(LAYERS))]


def explainer(name: str):
    return lambda model: create(name, model).attribute_patches


def state(model: nn.Module) -> dict[str, Tensor]:
    return {n: t.detach().clone() for n, t in model.state_dict().items()}


def of(stages: tuple[Stage, ...], name: str) -> tuple[str, ...]:
    return next(stage.tensors for stage in stages if stage.name == name)


@pytest.mark.parametrize("name", ZOO)
def test_every_parameter_is_in_one_stage_and_changed_by_it(name: str) -> None:
    model = build(name)
    before = state(model)
    stages = find_stages(model, pixels())
    assert [s.name for s in stages] == ["head", *BLOCKS, "embeddings"]
    listed = [n for s in stages for n in s.tensors]
    assert sorted(listed) == sorted(n for n, _ in model.named_parameters())
    done: set[str] = set()
    for stage, changed in cascade(model, stages):
        done.update(stage.tensors)
        for n, parameter in changed.named_parameters():
            assert torch.equal(parameter, before[n]) == (n not in done), (stage.name, n)
    assert done == set(before)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_in_projections_class_token_and_positions_are_reached() -> None:
    """What re-initialisation by reset_parameters leaves trained."""
    stages = find_stages(build("torch_encoder"), pixels())
    assert {"encoder.layers.5.self_attn.in_proj_weight", "encoder.layers.5.self_attn.in_proj_bias"} < set(
        of(stages, "block 5")
    )
    assert of(stages, "embeddings") == ("class_token", "conv_proj.weight", "conv_proj.bias")
    assert of(stages, "head") == ("head.weight", "head.bias")
    clip = find_stages(build("clip"), pixels())
    assert [n.rsplit(".", 1)[-1] for n in of(clip, "embeddings")[:1]] == ["class_embedding"]
    assert any("position_embedding" in n for n in of(clip, "embeddings"))
    assert any("pre_layrnorm" in n for n in of(clip, "embeddings"))
    assert any("post_layernorm" in n for n in of(clip, "head"))


class Projected(PlainViT):
    """As in OpenAI's CLIP: a bare projection matrix, registered before the blocks it comes after, text
    features in a buffer, and a backbone that runs without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Identity()
        blocks, self.encoder = self.encoder, None
        self.proj = nn.Parameter(torch.randn(WIDTH, WIDTH))
        self.encoder = blocks
        self.positions = nn.Parameter(torch.randn(17, WIDTH))
        self.register_buffer("texts", torch.randn(CLASSES, WIDTH))
        self.register_buffer("frequencies", torch.ones(4), persistent=False)
        self.scale = nn.Parameter(torch.tensor(4.6))

    def forward(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            tokens = self.conv_proj(pixels).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.class_token.expand(len(pixels), -1, -1), tokens], dim=1) + self.positions
            feature = self.encoder(tokens)[:, 0] @ self.proj
        return F.normalize(feature, dim=-1) @ F.normalize(self.texts, dim=-1).T * self.scale.exp()


def test_order_of_use_decides_not_order_of_registration() -> None:
    torch.manual_seed(0)
    model = Projected().eval()
    stages = find_stages(model, pixels())
    assert set(of(stages, "head")) == {"proj", "scale", "texts"}
    assert set(of(stages, "embeddings")) == {
        "class_token",
        "positions",
        "conv_proj.weight",
        "conv_proj.bias",
    }
    *_, (_, changed) = cascade(model, stages)
    for name, tensor in learned_tensors(model).items():
        assert not torch.equal(learned_tensors(changed)[name], tensor), name
    assert torch.equal(changed.frequencies, model.frequencies)  # a constant of the architecture


def test_a_tensor_keeps_its_distribution() -> None:
    """Norms too: they are not set to one and zero."""
    model = build("clip")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.uniform_(0.5, 3)
    *_, (_, changed) = cascade(model, find_stages(model, pixels()))
    for name, parameter in changed.named_parameters():
        original = model.get_parameter(name).flatten()
        if (original == original[0]).all():  # norms' biases, all 0 here
            assert 0 < parameter.abs().max() < 0.1
        else:
            assert torch.equal(parameter.flatten().sort().values, original.sort().values)


def test_a_map_that_ignores_the_model_scores_one() -> None:
    result = randomization(build("clip"), explainer("random"), pixels(3))
    assert result.spearman.shape == result.ssim.shape == (3, LAYERS + 2)
    assert (result.spearman == 1).all()
    torch.testing.assert_close(result.ssim, torch.ones_like(result.ssim))
    assert (result.value == 1).all()


@pytest.mark.parametrize("name", ["clip", "vit", "torch_encoder"])
def test_a_map_that_depends_on_the_model_changes(name: str) -> None:
    """And the score is the mean size of ρ after the head."""
    result = randomization(build(name), explainer("gradient_weighted_attention"), pixels(8), 1)
    torch.testing.assert_close(result.value, result.spearman[:, 1:].abs().mean(1))
    assert (result.value < 0.9).all()
    assert result.value.mean() < 0.5
    assert (result.ssim < 0.999).any(1).all()


def test_an_image_has_the_same_value_in_any_batch_and_seeds_differ() -> None:
    model, x = build("vit"), pixels(3)
    make = explainer("gradient_weighted_attention")
    random_state = torch.get_rng_state()
    together = randomization(model, make, x, 1, groups=2)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [s.name for s in together.stages] == ["head", "blocks 5–3", "blocks 2–0", "embeddings"]
    alone = randomization(model, make, x[1:2], 1, groups=2)
    torch.testing.assert_close(alone.spearman, together.spearman[1:2])
    assert not torch.equal(randomization(model, make, x, 1, groups=2, seed=1).spearman, together.spearman)


def test_several_methods_meet_the_same_models() -> None:
    model, x = build("vit"), pixels(2)
    names = ["random", "gradient_weighted_attention"]

    def make(changed: nn.Module):
        methods = [create(name, changed) for name in names]
        return lambda images, target: torch.stack([m.attribute_patches(images, target) for m in methods])

    together = randomization(model, make, x, 1, groups=1)
    assert together.value.shape == (2, 2)
    for i, name in enumerate(names):
        alone = randomization(model, explainer(name), x, 1, groups=1)
        torch.testing.assert_close(together.spearman[i], alone.spearman)
        torch.testing.assert_close(together.ssim[i], alone.ssim)


@pytest.mark.parametrize("groups", [1, 2, 4, 5, 6, 50])
def test_groups_cover_all_blocks_once(groups: int) -> None:
    model = build("clip")
    stages = find_stages(model, pixels(), groups)
    assert len(stages) == 2 + min(groups, LAYERS)
    assert sorted(n for s in stages for n in s.tensors) == sorted(learned_tensors(model))


def test_stages_by_name() -> None:
    model = build("torch_encoder")
    parts = {"head": ["head"], "encoder": ["encoder"], "stem": ["conv_proj", "class_token"]}
    result = randomization(model, explainer("random"), pixels(), stages=parts)
    assert [s.name for s in result.stages] == ["head", "encoder", "stem"]
    for wrong in (
        {"head": ["head"], "encoder": ["encoder"]},
        {**parts, "twice": ["encoder.layers.0"]},
        {**parts, "unknown": ["fc"]},
    ):
        with pytest.raises(UsageError):
            named_stages(model, wrong)


def test_a_stage_that_leaves_something_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import xai.metrics.cascade as module

    model = build("torch_encoder")
    stages = find_stages(model, pixels())
    redraw = module._redraw
    untouched = model.encoder.layers[3].self_attn.in_proj_weight
    monkeypatch.setattr(
        module, "_redraw", lambda t, seed: None if t.shape == untouched.shape else redraw(t, seed)
    )
    with pytest.raises(ModelError, match="in_proj_weight"):
        list(cascade(model, stages))


def test_a_stage_that_changes_something_else_is_found() -> None:
    """Here two blocks share memory, which no list of names shows."""
    model, memory = build("torch_encoder"), torch.randn(4, 4)
    model.encoder.layers[5].register_buffer("memory", memory)
    model.encoder.layers[0].register_buffer("memory", memory[:2])
    with pytest.raises(ModelError, match=r"layers\.0\.memory"):
        list(cascade(model, find_stages(model, pixels())))


def test_models_without_blocks_and_wrong_explainers_are_told() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    with pytest.raises(ModelError, match="no sequence of blocks"):
        find_stages(plain, pixels())
    model, x = build("torch_encoder"), pixels()
    with pytest.raises(UsageError, match="must return"):
        randomization(model, lambda _: lambda images, target: images.mean((1, 2, 3)), x)
    with pytest.raises(UsageError, match="groups"):
        find_stages(model, x, 0)
    with pytest.raises(UsageError, match="Pixels"):
        randomization(model, explainer("random"), x[0])


def test_the_model_is_as_before_also_in_mode_and_hooks() -> None:
    model = build("clip")
    before, twin = state(model), copy.deepcopy(model)
    randomization(model, explainer("gradient_weighted_attention"), pixels(), 0, groups=1)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    assert [m.training for m in model.modules()] == [m.training for m in twin.modules()]
    assert METRICS["randomization"].function is randomization
    assert PATCH == 8  # pixels() of the zoo make 4 × 4 patches
