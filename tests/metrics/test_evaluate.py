"""All metrics and methods in one pass: the same numbers as apart, from fewer forwards."""

import pytest
import torch
import vit_zoo
from linear_model import two_classes, white
from torch import nn

from xai import metrics
from xai.core import ModelError, UsageError
from xai.metrics import METRICS, PERTURBATION_METRICS, evaluate, list_metrics, protocol
from xai.perturb import Stream

NAMES = list(PERTURBATION_METRICS)
PLAIN = ["vit-token", "vit-mean", "rise"]


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(5)
    relevance = torch.randn(3, 2, 4, 4, generator=generator)
    relevance[1] = relevance[1].clamp_min(0)  # half of it tied
    return vit_zoo.build("vit"), vit_zoo.pixels(2), relevance, torch.tensor([2, 0])


def same(found, expected, **slices):
    for name in ("value", "saturated", "tie_fraction", "curve"):
        one, other = getattr(found, name), getattr(expected, name)
        if one is not None:
            torch.testing.assert_close(one, other[slices.get("at", ...)], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PLAIN)
def test_together_is_as_apart(batch, name):
    model, pixels, relevance, targets = batch
    together = evaluate(model, NAMES, pixels, relevance, targets, name)
    for metric in NAMES:
        alone = evaluate(model, [metric], pixels, relevance, targets, name, batch_size=5)[metric]
        same(alone, together[metric])
        torch.testing.assert_close(alone.clean, together[metric].clean, atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.baseline, together[metric].baseline, atol=1e-5, rtol=0)


def test_an_image_or_a_method_alone_gets_the_same(batch):
    model, pixels, relevance, targets = batch
    said = protocol("vit-token").replace(tie_draws=2)
    together = evaluate(model, NAMES, pixels, relevance, targets, said)
    image = evaluate(model, NAMES, pixels[1:], relevance[:, 1:], targets[1:], said, batch_size=7)
    method = evaluate(model, NAMES[::-1], pixels, relevance[[2]], targets, said)
    turned = evaluate(model, NAMES, pixels.flip(0), relevance.flip(0, 1), targets.flip(0), said)
    for metric in NAMES:
        same(image[metric], together[metric], at=(slice(None), slice(1, 2)))
        same(method[metric], together[metric], at=slice(2, 3))
        flipped = together[metric].value.flip(0, 1)
        torch.testing.assert_close(turned[metric].value, flipped, atol=1e-5, rtol=0)


def test_functions_are_the_first_method(batch):
    model, pixels, relevance, targets = batch
    together = evaluate(model, NAMES, pixels, relevance, targets, "vit")
    for name in NAMES:
        found = METRICS[name].function(model, pixels, relevance[0], targets)
        value = found.auc if isinstance(found, metrics.Curve) else found
        torch.testing.assert_close(value, together[name].value[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["vit", "vit-token"])
def test_one_direction_pays_for_all(batch, name):
    """Deletion, MoRF and comprehensiveness are one curve; insertion, LeRF and sufficiency the other."""
    model, pixels, relevance, targets = batch
    streams = [Stream(model) for _ in range(2)]
    pair = ["morf", "lerf"]
    everything = [*pair, "deletion", "insertion", "srg", "comprehensiveness", "sufficiency"]
    for stream, asked in zip(streams, (pair, everything), strict=True):
        evaluate(stream, asked, pixels, relevance[:1], targets, name)
    assert streams[0].forwards == streams[1].forwards <= 2 * METRICS["srg"].forwards(16, protocol(name))
    assert streams[1].states > 2 * streams[0].states


@pytest.mark.parametrize("name", NAMES)
def test_cost_of_one_map_is_as_stated(name):
    """On a map without ties of a model with one image; states that happen to be equal may save some."""
    weights = torch.randn(14, 14, generator=torch.Generator().manual_seed(0))
    relevance = torch.randn(1, 1, 14, 14, generator=torch.Generator().manual_seed(1))
    for said in (protocol("vit"), protocol("vit").replace(fractions=(0.1, 0.3, 0.7), ends=False)):
        stream = Stream(two_classes(weights))
        evaluate(stream, [name], white(14, 14), relevance, 1, said)
        assert stream.forwards == METRICS[name].forwards(196, said)


def test_metrics_say_what_they_are():
    listed = [info.name for info in list_metrics() if info.needs == "perturbation"]
    assert sorted(listed) == sorted(NAMES)
    better = {name: METRICS[name].higher_is_better for name in NAMES}
    lower = {name for name, higher in better.items() if not higher}
    assert lower == {"deletion", "morf", "sufficiency"}
    for name in NAMES:
        info = METRICS[name]
        assert "arXiv" in info.reference
        assert info.summary.endswith(".")
        assert callable(info.function)


def test_a_true_map_beats_its_reverse_on_every_metric():
    weights = torch.randn(6, 6, generator=torch.Generator().manual_seed(2))
    maps = torch.stack([weights, -weights])[:, None]
    found = evaluate(
        two_classes(weights), NAMES, white(6, 6), maps, 1, {"base": "vit", "operator": "constant"}
    )
    for name, scores in found.items():
        gain = (scores.value[0] - scores.value[1]).item()
        assert gain > 0.1 if METRICS[name].higher_is_better else gain < -0.1, name


def test_predicted_class_is_found_when_none_is_given(batch):
    model, pixels, relevance, _ = batch
    predicted = model(pixels).argmax(1)
    found = evaluate(model, ["srg"], pixels, relevance, protocol="vit")["srg"]
    same(found, evaluate(model, ["srg"], pixels, relevance, predicted, "vit")["srg"])


def test_token_masking_is_refused_where_patches_are_read_elsewhere():
    model, pixels = vit_zoo.build("clip_mean_pooled"), vit_zoo.pixels(1)
    with pytest.raises(ModelError, match="vit-mean"):
        evaluate(model, ["srg"], pixels, torch.rand(1, 1, 4, 4), 0, "vit-token")


@pytest.mark.parametrize(
    ("asked", "said"), [(["deletoin"], "Did you mean 'deletion'"), (["gini"], "computed from map")]
)
def test_refuses_metrics_that_are_not_of_perturbed_images(batch, asked, said):
    model, pixels, relevance, targets = batch
    with pytest.raises(UsageError, match=said):
        evaluate(model, asked, pixels, relevance, targets)


def test_a_model_without_patches_takes_pixel_maps_under_pixel_protocols():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    pixels, maps = vit_zoo.pixels(2), torch.rand(2, 2, 32, 32)
    for name, scores in evaluate(network, NAMES, pixels, maps, 1, "rise").items():
        assert scores.value.isfinite().all(), name
    for name in ("vit", "rise"):  # maps on the default grid, too
        scores = evaluate(network, ["srg"], pixels, torch.rand(2, 2, 8, 8), 1, name)
        assert scores["srg"].value.isfinite().all()
    with pytest.raises(UsageError, match=r"2, 8, 8\) on patches"):
        evaluate(network, ["srg"], pixels, torch.rand(2, 2, 4, 4), 1, "rise")
