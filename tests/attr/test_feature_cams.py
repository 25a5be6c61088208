"""Class activation maps on feature maps: the module they find, their values against the papers' formulas."""

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from open_attention import relative
from torch import Tensor, nn
from vit_zoo import LABELS, LAYERS, Logits, build, pixels

from xai.attr import EigenCAM, GradCAM, HiResCAM, ScoreCAM, create
from xai.attr.feature_cams import on_grid
from xai.core import Margin, ModelError, PatchGrid, UsageError
from xai.models import Classifier

SIDE = 64
HIERARCHICAL = {
    "resnet": lambda: hf.ResNetForImageClassification(
        hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type="basic", **LABELS)
    ),
    "convnext": lambda: hf.ConvNextForImageClassification(
        hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 2], num_stages=2, **LABELS)
    ),
    "swin": lambda: hf.SwinForImageClassification(
        hf.SwinConfig(image_size=SIDE, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=4, **LABELS)
    ),
    "mobilenet": lambda: hf.MobileNetV2ForImageClassification(
        hf.MobileNetV2Config(depth_multiplier=0.25, image_size=SIDE, **LABELS)
    ),
}
# what the documentation of pytorch-grad-cam looks at: a CNN's last stage or convolution, a Swin's last norm
DOCUMENTED = {
    "resnet": ("resnet.encoder.stages.1.layers.1", 8),
    "convnext": ("convnext.encoder.stages.1", 8),
    "swin": ("swin.layernorm", 8),
    "mobilenet": ("mobilenet_v2.conv_1x1", 2),
}
NAMES = ["grad_cam", "hires_cam", "layer_cam", "grad_cam_plus_plus"]


def classifier(name: str) -> Classifier:
    torch.manual_seed(0)
    model = HIERARCHICAL[name]().eval().double()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "norm" not in parameter_name:
                nn.init.normal_(parameter, std=0.2)
    return Classifier(model, ["a", "b", "c"], name=name, grid=(8, 8))


def images(count: int = 2, height: int = SIDE, width: int = SIDE) -> Tensor:
    return pixels(count, height, width).double()


def hooked(model: nn.Module, x: Tensor, layer: str, score) -> tuple[Tensor, Tensor]:
    """A module's output and its gradient as (B, C, h, w)."""
    kept = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *io: kept.append(io[-1]))
    y = score(model(x.clone().requires_grad_())).sum()
    hook.remove()
    (gradient,) = torch.autograd.grad(y, kept[-1])
    features = kept[-1].detach()
    if features.dim() == 3:
        side = int(features.shape[1] ** 0.5)
        features, gradient = (
            t.reshape(len(x), side, side, -1).permute(0, 3, 1, 2) for t in (features, gradient)
        )
    return features, gradient


def by_formula(name: str, features: Tensor, gradient: Tensor) -> Tensor:
    """Entry by entry, as the papers print it: (B, h, w)."""
    out = torch.zeros(features.shape[0], *features.shape[2:], dtype=features.dtype)
    for b in range(features.shape[0]):
        for k in range(features.shape[1]):
            f, g = features[b, k], gradient[b, k]
            if name == "grad_cam":
                out[b] += g.mean() * f
            elif name == "hires_cam":
                out[b] += g * f
            elif name == "layer_cam":
                out[b] += torch.where(g > 0, g, 0) * f
            else:
                alpha = g**2 / (2 * g**2 + f.sum() * g**3)
                out[b] += (alpha.nan_to_num(0) * g.relu()).sum() * f
    return out


@pytest.mark.parametrize("family", HIERARCHICAL)
def test_the_layer_found_is_the_documented_one(family: str) -> None:
    model, (layer, side) = classifier(family), DOCUMENTED[family]
    found = GradCAM(model).feature_map(images(1))
    assert found.size == (side, side)
    there, same = {}, {}
    for path, kept in ((found.name, there), (f"module.{layer}", same)):
        hook = model.get_submodule(path).register_forward_hook(lambda *io, kept=kept: kept.update(x=io[-1]))
        model(images(1))
        hook.remove()
    assert torch.equal(there["x"], same["x"])  # or a module around it that returns the same


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", HIERARCHICAL)
def test_equals_the_papers_formula(name: str, family: str) -> None:
    model, x = classifier(family), images()
    layer = f"module.{DOCUMENTED[family][0]}"
    signed = by_formula(name, *hooked(model, x, layer, lambda z: z[:, 0] - z[:, 2]))
    got = create(name, model).attribute_native(x, Margin(0, 2))
    assert relative(got, signed if name == "hires_cam" else signed.relu()) <= 1e-9
    assert (
        relative(create(name, model, layer=layer, relu=False).attribute_native(x, Margin(0, 2)), signed)
        <= 1e-9
    )
    assert (got > 0).any()


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "layer_cam"])
@pytest.mark.parametrize("family", ["clip", "vit", "deit", "dinov3", "siglip_pooling_head", "torch_encoder"])
def test_on_a_vit_it_is_the_map_of_the_tokens(name: str, family: str) -> None:
    """Where the class token or a pooling head is read: the norm before the last attention."""
    model, x = build(family).double(), pixels().double()
    got = create(name, model).attribute_native(x, 1)
    assert relative(got, create(f"token_{name}", model).attribute_patches(x, 1)) <= 1e-9


@pytest.mark.parametrize("family", ["clip_mean_pooled", "dinov2", "siglip", "beit"])
def test_on_a_vit_whose_patches_are_read_it_is_the_last_norm_or_block(family: str) -> None:
    model, x = build(family).double(), pixels().double()
    found = HiResCAM(model).feature_map(x)
    assert found.size == (4, 4)
    kept = []
    hook = model.get_submodule(found.name).register_forward_hook(lambda *io: kept.append(io[-1]))
    y = model(x.clone().requires_grad_())[:, 1].sum()
    hook.remove()
    (gradient,) = torch.autograd.grad(y, kept[0])
    signed = (kept[0] * gradient).sum(-1)[:, -16:].detach().unflatten(1, (4, 4))
    assert relative(HiResCAM(model).attribute_native(x, 1), signed) <= 1e-9
    assert f".{LAYERS - 2}" not in found.name


@pytest.mark.parametrize("family", ["resnet", "swin"])
@pytest.mark.parametrize("center", [True, False])
def test_eigen_cam_is_the_first_component_of_an_svd(family: str, center: bool) -> None:
    model, x = classifier(family), images()
    features, _ = hooked(model, x, f"module.{DOCUMENTED[family][0]}", lambda z: z[:, 0])
    expected = []
    for one in features.flatten(2).transpose(1, 2):
        one = one - one.mean(0) if center else one
        component = one @ torch.linalg.svd(one).Vh[0]
        expected.append(component if component.max() > -component.min() else -component)
    signed = torch.stack(expected).unflatten(1, (8, 8))
    got = EigenCAM(model, center=center, relu=False).attribute_native(x)
    assert relative(got, signed) <= 1e-7
    assert relative(EigenCAM(model, center=center).attribute_native(x), signed.relu()) <= 1e-7


@pytest.mark.parametrize("value", ["logit", "probability"])
def test_score_cam_masks_the_image_by_each_channel(value: str) -> None:
    model, x = classifier("resnet"), images()
    features, _ = hooked(model, x, f"module.{DOCUMENTED['resnet'][0]}", lambda z: z[:, 0])
    for target in (1, 2):
        maps = []
        for image, channels in zip(x, features, strict=True):
            kept = []
            for channel in channels:
                mask = F.interpolate(channel[None, None], (SIDE, SIDE), mode="bilinear")[0, 0]
                mask = mask - mask.min()
                mask = mask / mask.max() if mask.max() > 0 else mask
                logits = model((image * mask)[None])
                kept.append((logits if value == "logit" else logits.softmax(1))[0, target])
            weights = torch.stack(kept).softmax(0)
            maps.append((weights[:, None, None] * channels).sum(0).relu())
        got = ScoreCAM(model, value=value, internal_batch_size=7).attribute_native(x, target)
        assert relative(got, torch.stack(maps).detach()) <= 1e-9


def test_hires_cam_sums_to_the_score_where_the_read_out_is_linear() -> None:
    model, x = classifier("resnet"), images()
    bias = model.module.classifier[1].bias[1]
    got = HiResCAM(model).attribute_native(x, 1)
    torch.testing.assert_close(got.sum((1, 2)), (model(x)[:, 1] - bias).detach())
    assert relative(GradCAM(model, relu=False).attribute_native(x, 1), got) <= 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_targets_share_a_pass_whose_graph_begins_at_the_map(name: str) -> None:
    class NoWayDown(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            assert not ctx.needs_input_grad[0] or allowed
            return x.clone()

        @staticmethod
        def backward(ctx, gradient: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
            return gradient

    class Stem(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return NoWayDown.apply(x)  # type: ignore[no-any-return]

    inner = classifier("resnet")
    model = nn.Sequential(Stem(), inner.module, _LogitsOf())
    method, x, allowed = create(name, model), images(), True
    singles = torch.stack([method.attribute_native(x, t) for t in (0, 1, 2)])
    allowed, passes = False, []
    hook = model.register_forward_pre_hook(lambda *_: passes.append(1))
    with method._attributing(x, None) as (prepared, args):
        together = method._native(prepared, [0, 1, 2], args)  # type: ignore[attr-defined]
    hook.remove()
    assert len(passes) == 1
    torch.testing.assert_close(together, singles)
    torch.testing.assert_close(singles[1], create(name, inner).attribute_native(x, 1))


class _LogitsOf(nn.Module):
    def forward(self, output: hf.modeling_outputs.ImageClassifierOutput) -> Tensor:
        assert output.logits is not None
        return output.logits


def test_maps_are_interpolated_to_the_regions() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    assert on_grid(ramp, PatchGrid(8, 8)) is ramp
    finer = on_grid(ramp, PatchGrid(16, 16))
    torch.testing.assert_close(finer, F.interpolate(ramp, (16, 16), mode="bilinear"))
    checks = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * torch.ones(1, 1, 32, 32)
    torch.testing.assert_close(
        on_grid(checks, PatchGrid(4, 4)), torch.full((1, 1, 4, 4), 0.5), atol=0.02, rtol=0
    )
    mixed = on_grid(ramp, PatchGrid(4, 16))
    assert mixed.shape == (1, 1, 4, 16)
    torch.testing.assert_close(mixed[..., 0, :], finer[..., 0, :])
    model, x = classifier("mobilenet"), images()
    native = GradCAM(model).attribute_native(x, 1)
    expected = F.interpolate(native[:, None], (8, 8), mode="bilinear")[:, 0]
    torch.testing.assert_close(GradCAM(model).attribute_patches(x, 1), expected)


@pytest.mark.parametrize("given", ["resnet.encoder.stages.0", "module.resnet.encoder.stages.0", "stages.0"])
def test_a_layer_is_named_by_its_path_or_the_end_of_it(given: str) -> None:
    model, x = classifier("resnet"), images()
    signed = by_formula("layer_cam", *hooked(model, x, "module.resnet.encoder.stages.0", lambda z: z[:, 1]))
    got = create("layer_cam", model, layer=given).attribute_native(x, 1)
    assert got.shape[1:] == (16, 16)
    assert relative(got, signed.relu()) <= 1e-9


def test_wrong_layers_are_told() -> None:
    model, x = classifier("resnet"), images()
    with pytest.raises(
        UsageError, match=r"'resnet.encoder.stage.1' is no module(.|\n)*resnet.encoder.stages.1,"
    ):
        GradCAM(model, layer="resnet.encoder.stage.1")
    with pytest.raises(ModelError, match=r"resnet.pooler is(.|\n)*\(1, 16, 1, 1\)(.|\n)*occlusion"):
        GradCAM(model, layer="resnet.pooler").attribute(x, target=1)
    vit = build("vit")
    with pytest.raises(ModelError, match="gradient of the logits is 0 at its cells"):
        GradCAM(vit, layer=f"model.vit.layers.{LAYERS - 1}").attribute(pixels(), 1)
    assert not any(m._forward_hooks for m in vit.modules())


@pytest.mark.parametrize("name", ["grad_cam", "eigen_cam", "score_cam"])
def test_a_model_without_a_feature_map_is_told_what_works(name: str) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    with pytest.raises(
        ModelError, match=r"has no feature map(.|\n)*integrated_gradients, occlusion, rise or lime"
    ):
        create(name, Classifier(flat, ["a", "b", "c"], name="flat", grid=(4, 4))).attribute(
            pixels(), target=1
        )


def test_a_backbone_under_no_grad_gives_the_same_map() -> None:
    class Frozen(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                features = self.model.resnet(x * 1.0).last_hidden_state
            return self.model.classifier(features.mean((2, 3)))

    model, x = classifier("resnet"), images()
    got = GradCAM(Frozen(model.module)).attribute_native(x, 1)
    torch.testing.assert_close(got, GradCAM(model).attribute_native(x, 1))


def test_logits_cut_off_from_the_pixels_ask_for_a_named_layer() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x.detach()).mean((2, 3)))

    model = Cut()
    with pytest.raises(ModelError, match=r"cut off from the pixels(.|\n)*layer="):
        GradCAM(model).attribute_native(pixels(), 1)
    assert GradCAM(model, layer="conv").attribute_native(pixels(), 1).shape == (2, 8, 8)


def test_a_backbone_under_inference_mode_is_told() -> None:
    class Barred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            with torch.inference_mode():
                features = self.conv(x).mean((2, 3))
            return self.head(features.clone())

    model = Barred()
    with pytest.raises(ModelError, match=r"cut off from the pixels"):
        GradCAM(model).attribute_native(pixels(), 1)
    with pytest.raises(ModelError, match=r"conv under torch.inference_mode(.|\n)*occlusion"):
        GradCAM(model, layer="conv").attribute_native(pixels(), 1)
    assert not model.conv._forward_hooks
    assert all(p.requires_grad for p in model.parameters())


def test_logits_in_a_container_are_told() -> None:
    with pytest.raises(UsageError, match="not a tensor of logits"):
        GradCAM(classifier("resnet").module).attribute_native(images(), 1)


def test_wrapped_models_are_looked_into() -> None:
    model, x = classifier("convnext"), images()
    wrapped = Logits(model.module)
    torch.testing.assert_close(GradCAM(wrapped).attribute_native(x, 1), GradCAM(model).attribute_native(x, 1))
