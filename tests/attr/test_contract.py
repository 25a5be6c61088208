"""Captum's contract, for every registered method: a new method is tested with no edit here.

One model serves all methods: that each leaves it as it was is part of the contract. What a method says of
two images is computed once and compared with what it says in other ways.
"""

from functools import cache
from inspect import signature

import pytest
import torch
from captum.attr import NoiseTunnel
from captum.metrics import infidelity, sensitivity_max
from few_passes import OPTIONS
from torch import Tensor
from vit_zoo import build, pixels

from xai.attr import METHODS, create, list_methods
from xai.core import Margin, ModelError, UsageError

pytestmark = pytest.mark.parametrize("name", METHODS)


def make(name: str, model: torch.nn.Module):
    return create(name, model, **OPTIONS.get(name, {}))


@cache
def shared_model() -> torch.nn.Module:
    return build("clip")


@cache
def shared(name: str):
    """A method on the shared model, which it has looked at."""
    return make(name, shared_model())


@cache
def known(name: str) -> tuple[Tensor, Tensor]:
    """The shared method's maps of `pixels()` for class 1, patches and pixels; not to be changed."""
    return shared(name).attribute_patches(pixels(), 1), shared(name).attribute(pixels(), target=1)


def needs_target(name: str) -> bool:
    return METHODS[name].info.class_sensitive


def test_shapes_and_containers(name: str) -> None:
    x, (patches, single) = pixels(), known(name)
    assert patches.shape == (2, 4, 4)
    assert not patches.requires_grad
    many = shared(name).attribute((x,), target=1)
    assert isinstance(single, Tensor)
    assert isinstance(many, tuple)
    assert len(many) == 1
    assert torch.equal(single, many[0])
    assert single.shape == x.shape
    assert single.dtype == x.dtype
    assert single.is_contiguous()
    assert torch.isfinite(single).all()
    assert patches.abs().max() > 0


def test_pixels_carry_the_patches_relevance(name: str) -> None:
    """Nearest upsampling that keeps each patch's sum."""
    patches, spread = known(name)
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(spread, 8).sum(1) * 64, patches)
    assert torch.equal(spread[:, 0, :8, :8], spread[:, 0, :1, :1].expand(-1, 8, 8))


def test_targets_per_example(name: str) -> None:
    method, x = shared(name), pixels(4)
    targets = [0, Margin(1), 2, Margin(1, 0)]
    together = method.attribute_patches(x, targets)
    for i, target in enumerate(targets):
        torch.testing.assert_close(together[i : i + 1], method.attribute_patches(x[i : i + 1], target))
    assert torch.isfinite(method.attribute_patches(x, Margin(1))).all()


def test_class_sensitivity_is_as_declared(name: str) -> None:
    method, x = shared(name), pixels()
    differs = not torch.equal(method.attribute_patches(x, 0), known(name)[0])
    assert differs == needs_target(name)
    if needs_target(name):
        with pytest.raises(UsageError, match="No target"):
            method.attribute(x)


def test_sign_is_as_declared(name: str) -> None:
    negative = (shared(name).attribute_patches(pixels(8), 1) < 0).any()
    assert bool(negative) == METHODS[name].info.signed


def test_additional_forward_args(name: str) -> None:
    zero = torch.zeros(2, 3)
    for args in (zero, (zero,)):
        got = shared(name).attribute(pixels(), target=1, additional_forward_args=args)
        torch.testing.assert_close(got, known(name)[1])


def test_batch_equals_singles(name: str) -> None:
    alone = torch.cat([shared(name).attribute_patches(x, 1) for x in pixels().split(1)])
    torch.testing.assert_close(known(name)[0], alone, atol=1e-7, rtol=1e-4)


def test_two_runs_agree(name: str) -> None:
    """One of a method and a model that were used before, one of new ones."""
    assert torch.equal(known(name)[1], make(name, build("clip")).attribute(pixels(), target=1))


def test_drawing_random_numbers_is_as_declared(name: str) -> None:
    """A method that takes a seed draws them, unless its operator is one that needs none."""
    x, model = pixels(), shared_model()
    takes_seed = "seed" in signature(METHODS[name]).parameters
    assert METHODS[name].info.deterministic or takes_seed
    if takes_seed:
        first, other = (
            create(name, model, **{**OPTIONS.get(name, {}), "seed": seed}).attribute_patches(x, 1)
            for seed in (0, 1)
        )
        assert torch.equal(first, other) == METHODS[name].info.deterministic


def test_a_model_built_in_inference_mode_is_refused_where_gradients_are_needed(name: str) -> None:
    with torch.inference_mode():
        model = build("clip")
    if METHODS[name].info.backwards:
        with pytest.raises(ModelError, match="built under torch.inference_mode"):
            make(name, model).attribute(pixels(), target=1)


def test_works_where_gradients_are_off(name: str) -> None:
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            got = shared(name).attribute(pixels(), target=torch.tensor([1, 1]))
        torch.testing.assert_close(got, known(name)[1])


def test_noise_tunnel(name: str) -> None:
    tunnel = NoiseTunnel(shared(name))
    x = pixels()
    got = tunnel.attribute(x, nt_samples=3, nt_samples_batch_size=2, stdevs=0.1, target=[0, 1])
    assert got.shape == x.shape
    exact = tunnel.attribute(x, nt_samples=1, stdevs=0.0, target=[0, 1])
    torch.testing.assert_close(exact, shared(name).attribute(x, target=[0, 1]))


def test_captum_metrics(name: str) -> None:
    method, x = shared(name), pixels()
    alone = sensitivity_max(method.attribute, x[:1], target=1, n_perturb_samples=1)
    together = sensitivity_max(method.attribute, x, target=1, n_perturb_samples=1)
    assert together.shape == (2,)
    assert torch.isfinite(torch.cat([together, alone])).all()
    infid = infidelity(
        shared_model(),
        lambda inputs: (0.1 * torch.ones_like(inputs), inputs - 0.1),
        x,
        known(name)[1],
        target=1,
    )
    assert infid.shape == (2,)
    assert torch.isfinite(infid).all()


def test_half_precision(name: str) -> None:
    model, x, (expected, _) = build("clip"), pixels(), known(name)
    if name == "translrp":  # divides by small numbers, so that rounded weights have another map
        model, x = model.bfloat16().float(), x.bfloat16().float()
        expected = make(name, model).attribute_patches(x, 1)
    got = make(name, model.bfloat16()).attribute_patches(x.bfloat16(), 1)
    assert got.dtype == torch.bfloat16
    assert torch.isfinite(got).all()
    if name == "uniform":
        assert torch.equal(got.float(), expected)
    elif name != "random":  # seeded by the image's bytes, so other bytes give another map
        likeness = torch.corrcoef(torch.stack([got.float().flatten(), expected.flatten()]))[0, 1]
        assert likeness > 0.9


@pytest.mark.parametrize("outcome", ["success", "wrong target", "model fails"])
def test_the_model_is_as_before(name: str, outcome: str) -> None:
    model, x = build("clip"), pixels().requires_grad_()
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [p.requires_grad for p in model.parameters()]
    method = make(name, model)
    try:
        if outcome == "model fails":
            method.attribute(x, target=1, additional_forward_args="not a tensor")
        else:
            method.attribute(x, target=1 if outcome == "success" else 99)
    except Exception:
        assert outcome != "success"
    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())
    assert flags == [p.requires_grad for p in model.parameters()]
    assert all(p.grad is None for p in model.parameters())
    assert not any(m.training for m in model.modules())
    assert not any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
        for m in model.modules()
    )
    assert torch.overrides._get_current_function_mode_stack() == []
    assert torch.is_grad_enabled()
    assert x.requires_grad
    assert x.grad is None


@pytest.mark.parametrize(
    "inputs",
    [[torch.zeros(1, 3, 32, 32)], torch.zeros(3, 32, 32), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)],
    ids=["list", "3-D", "uint8"],
)
def test_wrong_inputs_are_told(name: str, inputs: object) -> None:
    with pytest.raises(UsageError):
        shared(name).attribute(inputs, target=1)


def test_nan_pixels_are_told(name: str) -> None:
    x = pixels()
    x[0, 0, 0, 0] = torch.nan
    with pytest.raises(UsageError, match="NaN"):
        shared(name).attribute(x, target=1)


def test_information_is_complete(name: str) -> None:
    info = METHODS[name].info
    assert info.name == name
    assert info in list_methods()
    assert info.reference
    assert info.summary.endswith(".")
    assert info.backwards <= info.forwards


def test_unknown_options_name_the_nearest(name: str) -> None:
    with pytest.raises(UsageError, match="no option 'head_fuson'"):
        create(name, shared_model(), head_fuson="mean")


WRONG = ([[1]], {"a": 1}, {1: 2}, object(), float("nan"), float("inf"), 10**30, -1e6, True, b"x", "no")


def test_options_of_wrong_types_and_values_are_told(name: str) -> None:
    """Whatever an option is given, it is refused or it works: nothing else is raised."""
    model = shared_model()
    for option, parameter in list(signature(METHODS[name]).parameters.items())[1:]:
        refused = 0
        for value in WRONG:
            try:
                create(name, model, **{**OPTIONS.get(name, {}), option: value})
            except UsageError as error:
                assert option in str(error) or "operator" in str(error) or "layer" in str(error)
                refused += 1
        assert refused >= 7, (option, parameter)
