"""Maps per preset, layer and head, from one recorded pass."""

import numpy as np
import pytest
from tiny_detector import classifier, hierarchical, photo

from xai.core import Sample, UsageError
from xai.explanation import Explainer, explain_each
from xai.explanation.explain import fused_by_layers, panels_of

SAMPLE = Sample("x", photo())


@pytest.mark.parametrize("clamp", ["fused", "heads", None])
@pytest.mark.parametrize(("head_fusion", "layer_fusion"), [("mean", "mean"), ("max", "product")])
def test_a_preset_s_map_is_the_map_of_that_preset(clamp, head_fusion, layer_fusion):
    model = classifier(layers=6)
    options = {"clamp": clamp, "head_fusion": head_fusion, "layer_fusion": layer_fusion}
    explainer = Explainer(model, target="fake", **options)
    (explanation,) = explainer.explain([SAMPLE])
    maps = fused_by_layers(explainer.layer_maps(explanation, "fake"), explainer.method.fusion)
    presets = ["last_layer", "last_2_layers", "last_4_layers", "spaced_layers", "all_layers"]
    assert list(maps) == presets + [f"layer {index}" for index in range(6)]
    for title, values in maps.items():
        layers = title if title in presets else [int(title.removeprefix("layer "))]
        (alone,) = Explainer(model, target="fake", layers=layers, **options).explain([SAMPLE])
        expected = alone.maps["fake"]
        np.testing.assert_allclose(values, expected, atol=1e-5 * np.abs(expected).max(), err_msg=title)


def test_presets_deeper_than_the_model_are_left_out():
    explainer = Explainer(classifier(layers=2), target="fake", layers="all_layers")
    (explanation,) = explainer.explain([SAMPLE])
    maps = fused_by_layers(explainer.layer_maps(explanation, "fake"), explainer.method.fusion)
    assert list(maps) == ["last_layer", "last_2_layers", "all_layers", "layer 0", "layer 1"]


def test_layers_of_a_hierarchical_model_fuse_to_the_map_of_the_preset(tmp_path):
    explainer = Explainer(hierarchical(), "gradient_weighted_attention", "fake")
    (explanation,) = explainer.explain([SAMPLE])
    each = explainer.each_layer_map(explanation, "fake")
    assert [len(one) for one in each] == [2, 2, 4, 4]
    maps = fused_by_layers(each, explainer.method.fusion)
    expected = explanation.maps["fake"]
    np.testing.assert_allclose(maps["all_layers"], expected, atol=1e-5 * np.abs(expected).max())
    for title in ("last_2_layers", "layer 0"):
        layers = [0] if title == "layer 0" else title
        one = Explainer(explainer.classifier, "gradient_weighted_attention", "fake", layers=layers)
        (alone,) = one.explain([SAMPLE])
        np.testing.assert_allclose(maps[title], alone.maps["fake"], atol=1e-5 * np.abs(expected).max())
    with pytest.raises(UsageError, match=r"unlike numbers of heads \(2, 2, 4, 4\)"):
        explainer.layer_maps(explanation, "fake")
    list(explain_each(explainer, [SAMPLE], tmp_path, layers_panel=True, heads_panel=True))
    assert {path.name for path in tmp_path.glob("*comparison.png")} == {
        "layer_comparison.png",
        "head_comparison.png",
    }


def test_panels_show_the_predicted_class_or_what_was_explained(monkeypatch):
    import xai.report

    drawn = []
    monkeypatch.setattr(xai.report, "draw_heads", lambda what, maps, titles, name: drawn.append(name))
    explainer = Explainer(classifier())
    (explanation,) = explainer.explain([SAMPLE])
    panels_of(explainer, explanation, heads=True)["head_comparison"]()
    contrast = Explainer(explainer.classifier, target="fake-real")
    (of_contrast,) = contrast.explain([SAMPLE])
    panels_of(contrast, of_contrast, heads=True)["head_comparison"]()
    assert drawn == [explanation.predicted, "fake-real"]


def test_a_method_without_layers_is_refused_before_any_work(tmp_path):
    explainer = Explainer(classifier(), "attention_rollout")
    with pytest.raises(UsageError, match="attention_rollout is not fused from maps"):
        next(explain_each(explainer, [SAMPLE], tmp_path, layers_panel=True))
    assert not list(tmp_path.iterdir())
