"""Pages of what a model was asked: layers, heads, the removal check, provenance."""

from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_detector import classifier, hierarchical, photo

import xai.explanation.page as glue
from xai.attr import GradientWeightedAttention
from xai.core import ModelError, Sample
from xai.explanation import Explainer, PageBuilder, compare_methods, page_of_comparison
from xai.report import to_html

GWA = "gradient_weighted_attention"


def samples(count):
    return [Sample(str(number), photo(number), label="fake") for number in range(count)]


def built(explainer, count=2, total=None):
    builder = PageBuilder(explainer, total or count)
    for explanation in explainer.explain(samples(count)):
        builder.add(explanation)
    return builder.page("a page")


def values_of(grid):
    return np.frombuffer(b64decode(grid.values), "<i2").reshape(grid.rows, grid.cols) / 32767 * grid.limit


def products_of(stack):
    shape = stack.layers, stack.heads, stack.rows, stack.cols
    return np.frombuffer(b64decode(stack.values), "i1").reshape(shape) / 127 * stack.limit


@pytest.mark.parametrize("clamp", ["fused", "heads", None])
@pytest.mark.parametrize("target", [None, "fake-real"])
def test_the_map_is_what_its_layers_and_heads_fuse_to(clamp, target):
    explainer = Explainer(
        classifier(layers=6), GWA, target, layers="last_2_layers", head_fusion="max", clamp=clamp
    )
    page = built(explainer)
    assert page.fusion.layers == [4, 5]
    assert (page.fusion.head_fusion, page.fusion.layer_fusion, page.fusion.clamp) == ("max", "mean", clamp)
    assert list(page.fusion.presets) == [
        "last_layer",
        "last_2_layers",
        "last_4_layers",
        "spaced_layers",
        "all_layers",
    ]
    for image in page.images:
        assert set(image.products) == set(image.maps[GWA]) == set(page.classes)
        for label, stack in image.products.items():
            products = torch.from_numpy(products_of(stack))[page.fusion.layers]
            fused = explainer.method.fusion.fuse(products).numpy()
            np.testing.assert_allclose(values_of(image.maps[GWA][label]), fused, atol=stack.limit / 127)


@pytest.mark.parametrize("clamp", ["heads", None])
def test_the_map_of_an_integrated_mask_gradient_is_what_its_shares_fuse_to(clamp):
    method = "integrated_mask_gradient"
    page = built(Explainer(classifier(layers=3), method, n_steps=3, clamp=clamp))
    fusion = page.fusion
    assert (fusion.row, fusion.layers, fusion.layer_fusion) == (method, [0, 1, 2], "sum")
    assert (fusion.head_fusion, fusion.clamp) == ("sum", clamp)
    for image in page.images:
        for label, stack in image.products.items():
            shares = products_of(stack)
            fused = (shares.clip(min=0) if clamp else shares).sum((0, 1))
            rounding = stack.limit / 127 * shares.shape[0] * shares.shape[1]
            np.testing.assert_allclose(values_of(image.maps[method][label]), fused, atol=rounding)


def test_shares_of_an_integrated_mask_gradient_come_with_the_map(monkeypatch):
    explainer = Explainer(classifier(layers=3), "integrated_mask_gradient", n_steps=3)
    (explanation,) = explainer.explain([Sample("x", photo())])
    for label, target in explainer.targets.chosen:
        pixels = explainer.prepare(explanation.sample).pixels[None]
        expected = explainer.method.attribute_layers(pixels, target)[0]
        np.testing.assert_allclose(explanation.layers[label], expected, atol=1e-5 * expected.abs().max())
    monkeypatch.setattr(type(explainer.method), "_layer_maps", None)  # a page asks for no more of them
    builder = PageBuilder(explainer, 1)
    builder.add(explanation)
    assert set(builder.images[0].products) == set(explanation.maps)


def test_the_class_that_was_predicted_is_checked_and_numbers_are_the_model_s():
    model = classifier()
    for image in built(Explainer(model, GWA)).images:
        (found,) = image.removals
        assert (found.row, found.target, found.operator) == (GWA, image.predicted, "token")
        other = next(label for label in image.probabilities if label != found.target)
        odds = image.probabilities[found.target] / image.probabilities[other]
        assert found.clean == pytest.approx(np.log(odds), abs=1e-4)
        assert len(found.random) == 10


def test_of_one_class_or_a_contrast_that_class_is_checked():
    for target in ("fake", "fake-real"):
        page = built(Explainer(classifier(), target=target))
        assert [image.removals[0].target for image in page.images] == ["fake", "fake"]
        assert [image.target for image in page.images] == [target, target]
        assert page.compared is None


def test_a_model_with_many_classes_shows_each_image_s_own():
    labels = tuple(f"class {i}" for i in range(40))
    page = built(Explainer(classifier(labels), GWA), count=6)
    for image in page.images:
        assert list(image.maps[GWA]) == list(image.probabilities)[:2]
        assert set(image.maps[GWA]) == set(image.products) <= set(page.classes)
        assert image.removals[0].target == image.predicted
    assert "the two most probable" in page.provenance["settings"]["classes"]


def test_layers_and_heads_stay_out_of_large_pages_and_of_other_methods(monkeypatch):
    monkeypatch.setattr(glue, "MOST_WITH_LAYERS", 1)
    page = built(Explainer(classifier()))
    assert page.fusion is None and not any(image.products for image in page.images)
    assert page.provenance["layers_and_heads"] == "left out: more than 1 images"
    other = built(Explainer(classifier(), "attention_rollout"), count=1)
    assert other.fusion is None and "layers_and_heads" not in other.provenance


def test_without_memory_for_all_layers_the_page_goes_without(monkeypatch):
    def attribute_each_layer(self, *arguments):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(GradientWeightedAttention, "attribute_each_layer", attribute_each_layer)
    page = built(Explainer(classifier(), GWA))
    assert page.fusion is None
    for image in page.images:
        assert any("Layers and heads are left out" in said for said in image.caveats)
        assert image.removals and not image.products


def test_a_page_of_layers_with_unlike_numbers_of_heads_goes_without_them():
    page = built(Explainer(hierarchical(), GWA))
    assert page.fusion is None
    for image in page.images:
        assert set(image.maps[GWA]) == {"real", "fake"} and not image.products
        assert any("layers differ in their number of heads" in said for said in image.caveats)


def test_a_check_that_cannot_be_made_is_said(monkeypatch):
    def check(*arguments):
        raise ModelError("Out of memory with one image on cpu.")

    monkeypatch.setattr("xai.explanation.removal.check_removal", check)
    (image,) = built(Explainer(classifier()), count=1).images
    assert not image.removals
    assert image.caveats[-1] == "Removing patches could not be tried: Out of memory with one image on cpu."


def test_provenance_card_and_model_description():
    page = built(Explainer(classifier(), "smoothgrad", "fake", seed=3, nt_samples=2), count=1, total=4)
    assert page.shown == (1, 4)
    assert page.rows[0].options["nt_samples"] == 2
    settings = page.provenance["settings"]
    assert (settings["method"], settings["classes"], settings["seed"]) == ("smoothgrad", ["fake"], 3)
    assert page.provenance["removal_check"]["operator"] == {"name": "token"}
    assert page.provenance["versions"]["torch"] and page.provenance["preprocessing"]["backend"] == "pil"
    (card,) = page.cards
    assert (card.method, card.deterministic, card.needs[0]) == ("smoothgrad", False, "gradients")
    assert page.model["fingerprint"] and "labels" not in page.model
    (image,) = page.images
    assert len(image.input_hash) == 16


def test_a_crop_is_checked_as_the_model_saw_it():
    model, sample = classifier(), samples(1)[0]
    boxed = replace(sample, box=(4, 2, 20, 20))
    cut = Sample("cut", sample.image.crop((4, 2, 24, 22)))
    pages = []
    for one in (boxed, cut):
        builder = PageBuilder(Explainer(model), 1)
        for explanation in builder.explainer.explain([one]):
            builder.add(explanation)
        pages.append(builder.page("x"))
    (crop,), (alone,) = pages[0].images, pages[1].images
    assert crop.input_hash == alone.input_hash
    assert crop.removals == alone.removals
    assert crop.box == (4, 2, 20, 20) and alone.box is None


def test_methods_are_compared_on_the_same_draws():
    model = classifier()
    methods = {GWA: {"layers": "last_layer"}, "saliency": {}, "random": {}}
    comparison = compare_methods(model, methods, [*samples(2), Path("missing.png")], "fake-real")
    page = page_of_comparison(comparison, model, "three methods")
    assert [(row.name, row.control) for row in page.rows] == [
        (GWA, False),
        ("saliency", False),
        ("random", True),
    ]
    assert page.rows[0].options["layers"] == "last_layer"
    assert (page.classes, page.shown) == (["fake-real"], (2, 3))
    for image, row in zip(page.images, comparison.rows, strict=True):
        assert [one.row for one in image.removals] == list(methods)
        assert len({tuple(one.random) for one in image.removals}) == 1
        assert {one.target for one in image.removals} == {"fake"}
        assert image.disagreement == pytest.approx(1 - image.agreement.spearman[0][1])
        for name in methods:
            grid = image.maps[name]["fake-real"]
            np.testing.assert_allclose(
                values_of(grid), row[name].maps["fake-real"], atol=grid.limit / 65534 * 1.01
            )
    assert [card.method for card in page.cards] == list(methods)
    assert "three methods" in to_html(page)


@pytest.mark.parametrize("method", ["raw_attention", "mask_gradient"])
def test_any_method_that_is_fused_from_layers_and_heads_brings_them(method):
    explainer = Explainer(classifier(layers=3), method, "fake")
    page = built(explainer, count=1)
    assert page.fusion.row == method
    (image,) = page.images
    maps = torch.from_numpy(products_of(image.products["fake"]))[page.fusion.layers]
    fused = explainer.method.fusion.fuse(maps).numpy()
    rounding = image.products["fake"].limit / 127 * maps.shape[0] * maps.shape[1]
    np.testing.assert_allclose(values_of(image.maps[method]["fake"]), fused, atol=rounding)
