"""Sampled gradients, blurred baselines and guided paths against Captum, autograd, NumPy and limits."""

import numpy as np
import pytest
import torch
from captum.attr import GradientShap as CaptumGradientShap
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import NoiseTunnel
from captum.attr import Saliency as CaptumSaliency
from torch import Tensor, nn
from vit_zoo import build, pixels

from xai.attr import (
    ExpectedGradients,
    GradientSHAP,
    GuidedIntegratedGradients,
    InputXGradient,
    IntegratedGradients,
    IntegratedGradientsBlur,
    VarGrad,
    create,
)
from xai.attr.integration_paths import presence_path
from xai.core import UsageError
from xai.perturb import image_seeds, make_operator


class Polynomial(nn.Module):
    """Logit k is Σ a_k x + b x²: linear for b = 0, and the gradient a_k + 2 b x is known everywhere."""

    patch_size = 8

    def __init__(self, square: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.linear = nn.Parameter(torch.randn(3, 3, 32, 32, generator=generator))
        self.square = nn.Parameter(square * torch.randn(3, 32, 32, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", x, self.linear) + (x**2 * self.square).sum((1, 2, 3))[:, None]


def by_patch(values: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(values.sum(1, keepdim=True), 8)[:, 0] * 64


def test_vargrad_of_a_linear_model_is_zero() -> None:
    got = VarGrad(Polynomial(), 5).attribute_patches(pixels(), 1)
    assert got.abs().max() < 1e-4


def test_vargrad_is_captums_noise_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, samples = build("clip"), pixels(1), 5
    generator = torch.Generator().manual_seed(image_seeds(x.bfloat16().float(), 7)[0])
    noise = torch.stack([torch.randn(3, 32, 32, generator=generator) for _ in range(samples)])
    monkeypatch.setattr(torch, "normal", lambda mean, std: noise * std)
    tunnel = NoiseTunnel(CaptumSaliency(model)).attribute(
        x,
        nt_type="vargrad",
        nt_samples=samples,
        stdevs=0.15 * float(x.max() - x.min()),
        target=1,
        abs=False,
    )
    got = VarGrad(model, samples, seed=7).attribute_patches(x, 1)
    torch.testing.assert_close(got, by_patch(tunnel.amax(1, keepdim=True)), rtol=1e-3, atol=1e-8)


def test_one_copy_has_no_variance() -> None:
    with pytest.raises(UsageError, match="at least two"):
        VarGrad(build("clip"), 1)


@pytest.mark.parametrize("method", [ExpectedGradients, GradientSHAP])
def test_paths_of_a_linear_model_are_exact_for_one_reference(method) -> None:
    model, x, reference = Polynomial(), pixels(), pixels(1, seed=5)
    options = {} if method is ExpectedGradients else {"stdevs": 0.0}
    got = method(model, 3, baselines=reference, **options).attribute_patches(x, 1)
    torch.testing.assert_close(got, by_patch((x - reference) * model.linear[1]), rtol=1e-3, atol=1e-3)


def test_expected_gradients_of_one_reference_tend_to_integrated_gradients() -> None:
    model, x, reference = build("clip"), pixels(1), pixels(1, seed=5)
    exact = by_patch(CaptumIntegratedGradients(model).attribute(x, reference, target=1, n_steps=300))
    errors = [
        float(
            (ExpectedGradients(model, n, baselines=reference, internal_batch_size=256)
             .attribute_patches(x, 1) - exact).norm() / exact.norm()
        )
        for n in (16, 2048)
    ]  # fmt: skip
    assert errors[1] < 0.1
    assert errors[1] < errors[0] / 3


def test_gradient_shap_is_captums_for_a_linear_model() -> None:
    model, x = Polynomial(), pixels()
    captum = CaptumGradientShap(model).attribute(
        x, baselines=torch.zeros_like(x), n_samples=3, stdevs=0.0, target=1
    )
    got = GradientSHAP(model, 3, stdevs=0.0).attribute_patches(x, 1)
    torch.testing.assert_close(got, by_patch(captum), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(got, InputXGradient(model).attribute_patches(x, 1), rtol=1e-3, atol=1e-3)


def test_noise_of_gradient_shap_averages_out_of_a_linear_model() -> None:
    model, x = Polynomial(), pixels(1)
    plain = InputXGradient(model).attribute_patches(x, 1)
    few, many = (GradientSHAP(model, n, stdevs=0.5).attribute_patches(x, 1) for n in (2, 800))
    assert (few - plain).norm() > 8 * (many - plain).norm()


@pytest.mark.parametrize("method", [ExpectedGradients, GradientSHAP])
def test_references_of_another_shape_are_told(method) -> None:
    with pytest.raises(UsageError, match="baselines must be"):
        method(build("clip"), 2, baselines=torch.zeros(4, 3, 16, 16)).attribute_patches(pixels(), 1)


def test_without_references_expected_gradients_keep_the_images_own_colours() -> None:
    """A shifted or mirrored copy has the image's sum, so relevance under equal weights is 0."""
    model = Polynomial()
    with torch.no_grad():
        model.linear[1] = 1.0
    got = ExpectedGradients(model, 8).attribute_patches(pixels(), 1)
    assert got.sum((1, 2)).abs().max() < 1e-2
    assert got.abs().max() > 1


def test_blurred_baseline_is_captums_with_the_blurred_image() -> None:
    model, x = build("vit"), pixels()
    blur = make_operator("blur", kernel=11, sigma=3.0).prepare(model, x, [0, 0])
    expected = CaptumIntegratedGradients(model).attribute(x, blur, target=1, n_steps=20)
    method = IntegratedGradientsBlur(model, 20, kernel=11, sigma=3.0)
    torch.testing.assert_close(method.attribute_patches(x, 1), by_patch(expected), rtol=1e-3, atol=1e-5)
    _, delta = method.attribute(x, target=1, return_convergence_delta=True)
    spread = method.attribute(x, target=1).sum((1, 2, 3))
    torch.testing.assert_close(spread - (model(x) - model(blur))[:, 1], delta, rtol=1e-3, atol=1e-4)


def test_a_path_cannot_start_from_masked_tokens() -> None:
    for name in ("integrated_gradients", "guided_integrated_gradients"):
        with pytest.raises(UsageError, match="paints nothing"):
            create(name, build("clip"), baseline="token").attribute_patches(pixels(), 1)


@pytest.mark.parametrize(
    ("baseline", "path"),
    [("constant", "uniform"), ("mean", "s^3"), ("region_mean", "logarithmic"), ("region_mean", "uniform")],
)
def test_integrated_gradients_are_shares_of_the_presence_of_regions(baseline: str, path: str) -> None:
    """∂y/∂m through autograd, all 16 regions fading in from the baseline together, at the path's points."""
    model, x, steps = build("clip").double(), pixels().double(), 3
    start = make_operator(baseline).prepare(model, x, [0, 0])
    assert start is not None
    expected = torch.zeros(2, 4, 4, dtype=x.dtype)
    for alpha, weight in presence_path(steps, path, "gauss_legendre"):
        presence = torch.full((2, 4, 4), alpha, dtype=x.dtype, requires_grad=True)
        whole = presence.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
        y = model(start + whole * (x - start))[:, 1].sum()
        expected += weight * torch.autograd.grad(y, presence)[0]
    got = IntegratedGradients(model, steps, baseline, path=path).attribute_patches(x, 1)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", ["logarithmic", "s^2"])
def test_a_path_places_points_and_changes_no_integral(path: str) -> None:
    model, x = build("vit").double(), pixels(1).double()
    uniform = IntegratedGradients(model, 60, "mean").attribute_patches(x, 1)
    got = IntegratedGradients(model, 60, "mean", path=path)
    torch.testing.assert_close(got.attribute_patches(x, 1), uniform, rtol=1e-3, atol=1e-3)
    _, delta = got.attribute(x, target=1, return_convergence_delta=True)
    assert delta.abs().max() < 1e-3


def test_the_default_baseline_is_zero() -> None:
    model, x = build("clip"), pixels()
    expected = CaptumIntegratedGradients(model).attribute(x, 0, target=1, n_steps=50)
    got = IntegratedGradients(model).attribute_patches(x, 1)
    torch.testing.assert_close(got, by_patch(expected), rtol=1e-3, atol=1e-5)


def test_guided_path_of_a_linear_model_is_input_times_gradient() -> None:
    model, x = Polynomial(), pixels()
    got = GuidedIntegratedGradients(model, 7).attribute_patches(x, 1)
    torch.testing.assert_close(got, InputXGradient(model).attribute_patches(x, 1), rtol=1e-3, atol=1e-3)


def test_a_corridor_of_no_width_is_the_straight_path() -> None:
    model, x, steps = build("clip").double(), pixels().double(), 5
    total = torch.zeros_like(x)
    for k in range(steps):
        point = (x * k / steps).requires_grad_()
        total += torch.autograd.grad(model(point)[:, 1].sum(), point)[0] * x / steps
    got = GuidedIntegratedGradients(model, steps, max_dist=0.0).attribute_patches(x, 1)
    torch.testing.assert_close(got, by_patch(total))


def guided_in_numpy(
    gradient, first: np.ndarray, last: np.ndarray, steps: int, fraction: float, width: float
) -> np.ndarray:
    """The paper's path for one image, value by value."""
    x, relevance = first.copy(), np.zeros_like(first)
    span = last - first
    length = np.abs(span).sum()
    count = max(1, int(fraction * len(x)))
    for step in range(1, steps + 1):
        alpha = step / steps
        slope, before = gradient(x), x.copy()
        low, high = max(alpha - width, 0), min(alpha + width, 1)
        for i in range(len(x)):
            if abs(x[i] - first[i]) < low * abs(span[i]):
                x[i] = first[i] + low * span[i]
        limit = first + high * span
        while True:
            missing = np.abs(last - x).sum() - length * (1 - alpha)
            left = [i for i in range(len(x)) if x[i] != limit[i]]
            if missing <= 1e-12 or not left:
                break
            chosen = sorted(left, key=lambda i: abs(slope[i]))[:count]
            gain = sum(abs(limit[i] - x[i]) for i in chosen)
            for i in chosen:
                x[i] = limit[i] if gain <= missing else x[i] + missing / gain * (limit[i] - x[i])
        relevance += slope * (x - before)
    return relevance


@pytest.mark.parametrize(("fraction", "width"), [(0.25, 0.02), (0.1, 0.3), (0.5, 1.0)])
def test_guided_path_equals_the_paper_written_out(fraction: float, width: float) -> None:
    model, x = Polynomial(0.7).double(), pixels(2).double()
    linear, square = (p.detach().numpy().ravel() for p in (model.linear[1], model.square))
    expected = [
        guided_in_numpy(
            lambda v: linear + 2 * square * v, np.zeros(3072), one.numpy().ravel(), 6, fraction, width
        )
        for one in x
    ]
    got = GuidedIntegratedGradients(model, 6, fraction, width).attribute_patches(x, 1)
    torch.testing.assert_close(
        got, by_patch(torch.from_numpy(np.stack(expected)).view_as(x)), rtol=1e-7, atol=1e-7
    )


def test_guided_paths_become_complete() -> None:
    model, x = build("clip").double(), pixels().double()
    rise = (model(x) - model(torch.zeros_like(x)))[:, 1].detach()
    errors = [
        float((GuidedIntegratedGradients(model, n).attribute_patches(x, 1).sum((1, 2)) - rise).abs().max())
        for n in (5, 100)
    ]
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize(
    "options", [{"n_steps": 0}, {"fraction": 0.0}, {"fraction": 1.5}, {"max_dist": -0.1}]
)
def test_values_out_of_range_are_told(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        GuidedIntegratedGradients(build("clip"), **options)
