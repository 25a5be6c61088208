"""Saliency, input × gradient and SmoothGrad against autograd, Captum's NoiseTunnel and limit identities."""

import pytest
import torch
from captum.attr import NoiseTunnel
from captum.attr import Saliency as CaptumSaliency
from torch import Tensor, nn
from vit_zoo import ZOO, build, pixels

from xai.attr import InputXGradient, Saliency, SmoothGrad, create
from xai.core import Margin, ModelError, UsageError
from xai.perturb import image_seeds


class Linear(nn.Module):
    """Logits are linear in the pixels: gradients are the weights, wherever they are taken."""

    patch_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", x, self.weight)


def autograd(model: nn.Module, x: Tensor, score) -> Tensor:
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(model(x)).sum(), x)
    return gradient


def by_patch(values: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(values.sum(1, keepdim=True), 8)[:, 0] * 64


@pytest.mark.parametrize("name", ZOO)
def test_saliency_and_input_x_gradient_are_autograds(name: str) -> None:
    model, x = build(name), pixels()
    gradient = autograd(model, x, lambda logits: logits[:, 2])
    close = {"rtol": 1e-4, "atol": 1e-6}
    largest = by_patch(gradient.abs().amax(1, keepdim=True))
    torch.testing.assert_close(Saliency(model).attribute_patches(x, 2), largest, **close)
    torch.testing.assert_close(
        Saliency(model, channels="sum").attribute_patches(x, 2), by_patch(gradient.abs()), **close
    )
    torch.testing.assert_close(
        InputXGradient(model).attribute_patches(x, 2), by_patch(x * gradient), rtol=1e-4, atol=1e-5
    )


def test_a_margin_is_the_difference_of_two_logits() -> None:
    model, x = build("clip"), pixels()
    gradient = autograd(model, x, lambda logits: logits[:, 1] - logits[:, 0])
    got = Saliency(model).attribute_patches(x, Margin(1, 0))
    torch.testing.assert_close(got, by_patch(gradient.abs().amax(1, keepdim=True)), rtol=1e-4, atol=1e-6)


def test_input_x_gradient_of_a_linear_model_is_complete() -> None:
    model, x = Linear(), pixels()
    got = InputXGradient(model).attribute_patches(x, 1)
    torch.testing.assert_close(got, by_patch(x * model.weight[1]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.sum((1, 2)), model(x)[:, 1], rtol=1e-4, atol=1e-4)
    assert InputXGradient(model).multiplies_by_inputs


def test_smoothgrad_without_noise_is_saliency() -> None:
    model, x = build("vit"), pixels()
    one = SmoothGrad(model, nt_samples=1, stdevs=0.0).attribute_patches(x, 1)
    assert torch.equal(one, Saliency(model).attribute_patches(x, 1))


def test_smoothgrad_of_a_linear_model_is_saliency_under_any_noise() -> None:
    model, x = Linear(), pixels()
    noisy = SmoothGrad(model, nt_samples=3, stdevs=2.0).attribute_patches(x, 1)
    torch.testing.assert_close(noisy, Saliency(model).attribute_patches(x, 1))


@pytest.mark.parametrize("absolute", ["mean", "samples"])
def test_smoothgrad_is_captums_noise_tunnel_over_saliency(
    absolute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tunnel is given the noise that the image's seed draws, scaled by the image's own range."""
    model, x, samples = build("clip"), pixels(1), 5
    generator = torch.Generator().manual_seed(image_seeds(x.bfloat16().float(), 7)[0])
    noise = torch.stack([torch.randn(3, 32, 32, generator=generator) for _ in range(samples)])
    monkeypatch.setattr(torch, "normal", lambda mean, std: noise * std)
    tunnel = NoiseTunnel(CaptumSaliency(model)).attribute(
        x, nt_samples=samples, stdevs=0.15 * float(x.max() - x.min()), target=1, abs=absolute == "samples"
    )
    got = SmoothGrad(model, samples, absolute=absolute, seed=7).attribute_patches(x, 1)
    torch.testing.assert_close(got, by_patch(tunnel.abs().amax(1, keepdim=True)), rtol=1e-4, atol=1e-6)


def test_averaging_signs_cancels_noise() -> None:
    model, x = build("clip"), pixels()
    options = {"nt_samples": 6, "channels": "sum"}
    mean = SmoothGrad(model, absolute="mean", **options).attribute_patches(x, 1)
    samples = SmoothGrad(model, absolute="samples", **options).attribute_patches(x, 1)
    assert (mean < samples).all()


def test_smoothgrad_does_not_depend_on_the_batch() -> None:
    model, x = build("clip"), pixels(3)
    expected = SmoothGrad(model, 4).attribute_patches(x, [0, 1, 2])
    for size in (1, 3, 7):
        got = SmoothGrad(model, 4, internal_batch_size=size).attribute_patches(x, [0, 1, 2])
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    alone = SmoothGrad(model, 4).attribute_patches(x[1:2], 1)
    torch.testing.assert_close(alone, expected[1:2], rtol=1e-4, atol=1e-6)


def test_smoothgrad_leaves_the_callers_random_state() -> None:
    model, x = build("clip"), pixels()
    state = torch.get_rng_state()
    first = SmoothGrad(model, 2).attribute_patches(x, 1)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, SmoothGrad(model, 2, seed=1).attribute_patches(x, 1))


@pytest.mark.parametrize("name", ["saliency", "input_x_gradient", "smoothgrad"])
def test_a_model_cut_off_from_the_pixels_is_told(name: str) -> None:
    class Cut(nn.Module):
        patch_size = 8

        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = Linear(), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                feature = self.backbone(x)
            return self.head(feature)

    model = Cut()
    with pytest.raises(ModelError, match="cut off from the pixels"):
        create(name, model).attribute_patches(pixels(), 1)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("options", [{"nt_samples": 0}, {"stdevs": -0.1}, {"internal_batch_size": 0}])
def test_smoothgrad_values_out_of_range_are_told(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        SmoothGrad(build("clip"), **options)


@pytest.mark.parametrize(
    ("name", "option"), [("saliency", "channels"), ("smoothgrad", "channels"), ("smoothgrad", "absolute")]
)
def test_unknown_choices_are_told(name: str, option: str) -> None:
    with pytest.raises(UsageError, match=option):
        create(name, build("clip"), **{option: "men"})


@pytest.mark.parametrize(
    ("name", "options"),
    [("saliency", {}), ("smoothgrad", {"nt_samples": 2}), ("token_grad_cam", {}), ("occlusion", {}),
     ("rise", {"n_masks": 4})],
)  # fmt: skip
def test_double_precision_stays_double(name: str, options: dict) -> None:
    """Relevance differs from its single-precision rounding: no step on the way was done in single."""
    model, x = build("clip").double(), pixels().double()
    got = create(name, model, **options).attribute_patches(x, 1)
    assert got.dtype == torch.float64
    assert not torch.equal(got, got.float().double())
    single = create(name, build("clip"), **options).attribute_patches(pixels(), 1)
    torch.testing.assert_close(got.float(), single, rtol=1e-3, atol=1e-5)
