"""Curves against arithmetic done on paper, on a model that is a known weighted sum of patches."""

import numpy as np
import pytest
import tiny_detector
import torch
import vit_zoo
from linear_model import Linear, two_classes, white

from xai import metrics
from xai.core import UsageError
from xai.metrics import protocol
from xai.metrics.curves import area
from xai.metrics.maps import to_patches, to_pixels
from xai.perturb import Attack, Cells, Stream, make_operator

ZERO = protocol("vit").replace(operator=make_operator("constant"), steps=16)
NAMES = list(metrics.PERTURBATION_METRICS)
CURVES = ("deletion", "insertion", "morf", "lerf")


def ordered_weights():
    """1 … 16, shuffled over the grid."""
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    return (order + 1.0).reshape(4, 4)


def curve(name, model, relevance, **changes):
    pixels = white(images=len(relevance))
    return getattr(metrics, name)(model, pixels, relevance, 1, ZERO.replace(**changes) if changes else ZERO)


def test_areas_worked_out_on_paper():
    weights = ordered_weights()
    model = two_classes(weights)
    n, total = 16, 136.0
    morf = (n + 1) * (2 * n + 1) / 12  # trapezoid over (n − k)(n − k + 1)/2, k = 0 … n
    truth = weights[None]
    deletion = curve("deletion", model, truth)
    assert deletion.values[0].tolist() == [(n - k) * (n - k + 1) / 2 for k in range(n + 1)]
    assert deletion.fractions.tolist() == [k / n for k in range(n + 1)]
    assert deletion.auc.item() == pytest.approx(morf)
    assert curve("lerf", model, truth).auc.item() == pytest.approx(total - morf)
    assert curve("insertion", model, truth).auc.item() == pytest.approx(total - morf)
    assert curve("morf", model, -truth).auc.item() == pytest.approx(total - morf)
    assert curve("srg", model, truth).item() == pytest.approx(total - 2 * morf)
    assert curve("srg", model, -truth).item() == pytest.approx(2 * morf - total)
    assert (deletion.clean.item(), deletion.baseline.item()) == (total, 0.0)
    assert not deletion.saturated.any()
    assert deletion.tie_fraction.item() == 0
    assert deletion.target.tolist() == [1]


def test_probability_is_the_sigmoid_of_the_margin():
    weights = ordered_weights() / 100
    deletion = curve("deletion", two_classes(weights), weights[None], value="probability")
    removed = np.array([(16 - k) * (17 - k) / 200 for k in range(17)])
    np.testing.assert_allclose(deletion.values[0], 1 / (1 + np.exp(-removed)), atol=1e-7)


def test_accuracy_and_logit_of_one_class_among_three():
    weights = torch.stack([torch.ones(4, 4) * 4, ordered_weights(), torch.zeros(4, 4)])
    model = Linear(weights)
    logit = curve("deletion", model, weights[1:2], value="logit")
    assert logit.values[0].tolist() == [(16 - k) * (17 - k) / 2 for k in range(17)]
    accuracy = curve("deletion", model, weights[1:2], value="accuracy")
    own, other = logit.values[0], torch.tensor([4.0 * (16 - k) for k in range(17)])
    # class 0 wins the ties, as it is the first of equals
    assert accuracy.values[0].tolist() == (own > other).double().tolist()
    margin = curve("deletion", model, weights[1:2], value="margin")
    expected = own - torch.log(torch.exp(other.double()) + 1)
    torch.testing.assert_close(margin.values[0], expected, atol=1e-4, rtol=1e-6)


def test_comprehensiveness_and_sufficiency_on_paper():
    weights = ordered_weights()
    model, truth = two_classes(weights), weights[None]
    dropped = np.array([136 - (16 - k) * (17 - k) / 2 for k in range(1, 9)])
    assert curve("comprehensiveness", model, truth).item() == pytest.approx(dropped.mean())
    assert curve("sufficiency", model, truth).item() == pytest.approx((136 - dropped).mean())


def test_partial_curves_and_their_area_rules():
    weights = ordered_weights()
    model = two_classes(weights)
    values = np.array([(16 - k) * (17 - k) / 2 for k in (4, 8, 12)])
    for rule, expected in (
        ("trapezoid", (values[0] + 2 * values[1] + values[2]) / 8),
        ("mean", values.mean()),
        ("uniform", (values[0] + 2 * values[1] + values[2]) / 4),
        ("unnormalised", (values[0] + 2 * values[1] + values[2]) / 2),
    ):
        found = curve("deletion", model, weights[None], fractions=(0.25, 0.5, 0.75), ends=False, auc=rule)
        assert found.values[0].tolist() == values.tolist()
        assert found.auc.item() == pytest.approx(expected)
        assert (found.clean.item(), found.baseline.item()) == (136.0, 0.0)  # told although not on the curve


def test_area_takes_true_shares():
    shares = torch.tensor([0.0, 0.5, 0.6, 1.0], dtype=torch.float64)
    line = 3 - 2 * shares
    assert area(line, shares, "trapezoid").item() == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["vit-token", "vit-mean", "vit-blur"])
def test_lerf_is_deletion_by_reversed_rank_and_insertion_backwards(name):
    model, pixels = vit_zoo.build("vit"), vit_zoo.pixels(2)
    relevance = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(3))
    lerf = metrics.lerf(model, pixels, relevance, protocol=name)
    reversed_deletion = metrics.deletion(model, pixels, -relevance, protocol=name)
    torch.testing.assert_close(lerf.values, reversed_deletion.values, atol=1e-5, rtol=0)
    insertion = metrics.insertion(model, pixels, relevance, protocol=name)
    torch.testing.assert_close(lerf.values, insertion.values.flip(1), atol=1e-5, rtol=0)


def test_order_of_ties_is_one_order():
    """With ties everywhere LeRF still is insertion backwards: both read the same drawn order."""
    model, pixels = vit_zoo.build("vit"), vit_zoo.pixels(2)
    relevance = torch.tensor([0.0, 1.0]).repeat(2, 8).reshape(2, 4, 4)
    lerf, insertion = (f(model, pixels, relevance) for f in (metrics.lerf, metrics.insertion))
    torch.testing.assert_close(lerf.values, insertion.values.flip(1), atol=1e-5, rtol=0)
    assert lerf.tie_fraction.tolist() == [1, 1]


def test_tie_draws_average_over_orders():
    weights = ordered_weights()
    model, constant = two_classes(weights), torch.zeros(1, 4, 4)
    one, other = (metrics.deletion(model, white(), constant, 1, ZERO, seed=seed) for seed in (0, 1))
    assert one.auc.item() != other.auc.item()
    again = metrics.deletion(model, white(), constant, 1, ZERO, seed=0)
    assert again.auc.item() == one.auc.item()
    many = curve("deletion", model, constant, tie_draws=64)
    assert many.auc.item() == pytest.approx(68, abs=2)  # a random order halves the area on average
    assert abs(one.auc.item() - 68) > 2  # one order need not


def test_stable_ties_go_by_position():
    weights = ordered_weights()
    found = curve("deletion", two_classes(weights), torch.zeros(1, 4, 4), ties="stable")
    left = 136 - np.concatenate([[0], np.cumsum(weights.flatten().numpy())])
    assert found.values[0].tolist() == left.tolist()


@pytest.mark.parametrize(
    ("sign", "effective"), [("signed", [1.0, -3.0]), ("absolute", [1.0, 3.0]), ("positive", [1.0, 0.0])]
)
def test_sign(sign, effective):
    """Which of two patches goes first depends on what is done with the sign."""
    relevance = torch.full((1, 4, 4), 0.5)
    relevance[0, 0, :2] = torch.tensor([1.0, -3.0])
    weights = torch.zeros(4, 4)
    weights[0, 0], weights[0, 1] = 5.0, 7.0
    found = curve("deletion", two_classes(weights), relevance, sign=sign, steps=16)
    drop = 12 - found.values[0, 1].item()
    assert drop == (5 if effective[0] > effective[1] else 7)
    last = found.values[0, -2].item()  # what remains before the last step
    assert last == (7 if effective[1] < 0.5 else 0)


def test_saturated_curves_are_flagged():
    model = two_classes(ordered_weights() / 136 / 20)  # the margin moves by 0.05
    quiet = curve("deletion", model, ordered_weights()[None])
    assert quiet.saturated.tolist() == [True]
    loud = curve("deletion", two_classes(ordered_weights() / 136), ordered_weights()[None])
    assert loud.saturated.tolist() == [False]
    assert ZERO.floor == 0.1
    for scale, flag in ((20, True), (1, False)):
        model, truth = two_classes(ordered_weights() / 136 / scale), ordered_weights()[None, None]
        for name, scores in metrics.evaluate(model, NAMES, white(), truth, 1, ZERO).items():
            if name == "accuracy_drop":
                assert scores.saturated.all()  # the answer stays
                continue
            assert scores.saturated.tolist() == [[flag]], name
    sure = curve("deletion", two_classes(ordered_weights() + 3), ordered_weights()[None], value="accuracy")
    assert not sure.saturated.any()  # at the end nothing is left, and the first of equal classes wins


def test_patch_maps_become_pixel_maps_and_back():
    patches = torch.arange(12.0).reshape(1, 3, 4)
    near = to_pixels(patches, (7, 9), "nearest")
    assert near.shape == (1, 7, 9)
    torch.testing.assert_close(to_patches(near, (3, 4)), patches)
    torch.testing.assert_close(to_patches(to_pixels(patches, (6, 8), "nearest"), (3, 4)), patches)
    ramp = to_pixels(torch.tensor([[[0.0, 1.0]]]), (1, 4), "bilinear")
    assert ramp.tolist() == [[[0.0, 0.25, 0.75, 1.0]]]


def test_pixel_maps_serve_patch_protocols_by_their_mean():
    weights = ordered_weights()
    model = two_classes(weights)
    pixels = to_pixels(weights[None], (16, 16), "nearest") + torch.randn(1, 16, 16) * 1e-3
    assert curve("deletion", model, pixels).auc.item() == pytest.approx(17 * 33 / 12)


def test_patch_maps_serve_pixel_protocols():
    weights = ordered_weights()
    found = metrics.deletion(
        two_classes(weights), white(), weights[None], 1, ZERO.replace(unit="pixel", step_units=16)
    )
    assert found.values[0].tolist() == pytest.approx([(16 - k) * (17 - k) / 2 for k in range(17)], abs=1e-4)


def test_target_follows_the_protocol():
    model = Linear(torch.stack([torch.ones(4, 4), torch.zeros(4, 4), torch.zeros(4, 4)]))
    relevance = torch.rand(2, 4, 4)
    pixels = white(images=2) * torch.tensor([1.0, -1.0])[:, None, None, None]
    assert metrics.deletion(model, pixels, relevance).target.tolist() == [0, 1]
    assert metrics.deletion(model, pixels, relevance, [2, 0]).target.tolist() == [2, 0]
    assert metrics.deletion(model, pixels, relevance, torch.tensor(2)).target.tolist() == [2, 2]
    with pytest.raises(UsageError, match="follows the label; target=None"):
        metrics.deletion(model, pixels, relevance, protocol={"base": "vit", "target": "label"})


def test_predicting_leaves_the_model_as_it_was():
    model = two_classes(ordered_weights())
    model.train()
    metrics.deletion(model, white(), torch.rand(1, 4, 4))
    assert model.training
    # one forward to find the grid, one to predict, one to look for its last layer, then 15 of the curve
    assert model.seen == 1 + 1 + 1 + 15


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"relevance": torch.zeros(2, 3, 3)}, r"got \(1, 2, 3, 3\)"),
        ({"relevance": torch.zeros(1, 4, 4)}, "Relevance of 2 images"),
        ({"relevance": torch.zeros(2, 3, 16, 16)}, "got .2, 3, 16, 16."),
        ({"relevance": torch.zeros(2, 4, 4, dtype=torch.int)}, "floating-point"),
        ({"relevance": [[0.0]]}, "Relevance must be a tensor; got list"),
        ({"relevance": torch.full((2, 4, 4), torch.nan)}, "image 0 .* NaN"),
        ({"relevance": torch.full((2, 4, 4), torch.inf)}, "NaN or infinite"),
        ({"pixels": torch.full((2, 3, 16, 16), torch.nan)}, "pixels hold NaN"),
        ({"pixels": torch.zeros(3, 16, 16)}, "floating point of shape"),
        ({"pixels": "image"}, "got str"),
        ({"target": 2}, "[Cc]lass.* 2"),
        ({"target": -1}, "[Cc]lass.* -1"),
        ({"target": [0, 1, 0]}, "one target or 2"),
        ({"target": 0.5}, "class index"),
        ({"target": "fake"}, "class index"),
        ({"model": "demo"}, "torch.nn.Module; got str"),
        ({"protocol": "viit"}, "Did you mean 'vit'"),
        ({"protocol": {"base": "vit", "steps": 17}}, "17 steps for 16 units"),
        ({"protocol": {"base": "vit", "operator": "noise", "steps": 0}}, "steps=0"),
    ],
)
@pytest.mark.parametrize("name", ["deletion", "saco"])
def test_refuses_what_does_not_fit(changes, said, name):
    given = {
        "model": two_classes(ordered_weights()),
        "pixels": white(images=2),
        "relevance": torch.rand(2, 4, 4),
        "target": 1,
        "protocol": "vit",
        **changes,
    }
    with pytest.raises(UsageError, match=said):
        getattr(metrics, name)(*given.values())


def test_no_point_up_to_half():
    with pytest.raises(UsageError, match="at most half"):
        curve("comprehensiveness", two_classes(ordered_weights()), torch.rand(1, 4, 4), steps=1)


def test_a_detector_with_preprocessing_takes_every_preset():
    detector = tiny_detector.classifier()
    pixels = detector.preprocess(tiny_detector.photo())[None]
    relevance = torch.rand(1, 4, 4)
    stream = Stream(detector)
    for preset in metrics.PROTOCOLS.values():
        if preset.segments is not None:
            preset = preset.replace(segments=Cells(), operator=Attack(samples=1, iterations=1))
        for name in CURVES:
            found = getattr(metrics, name)(stream, pixels, relevance, 1, preset)
            assert found.values.shape == (1, len(found.fractions))
            assert found.values.isfinite().all()
