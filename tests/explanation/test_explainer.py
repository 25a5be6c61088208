"""Batches, targets, memory, broken images."""

import numpy as np
import pytest
import torch
import vit_zoo as zoo
from tiny_detector import classifier, photo, write_photos

import xai
from xai.attr import DEFAULT_PRESET, PRESETS, GradientWeightedAttention, base
from xai.core import DataError, Explanation, Margin, ModelError, Sample, UsageError
from xai.explanation import Explainer, Failure, explain, explain_each
from xai.explanation.explainer import OutOfMemoryError
from xai.models import load

GWA = "gradient_weighted_attention"


def samples(count, size=(40, 32)):
    return [Sample(str(number), photo(number, size)) for number in range(count)]


def explained(explainer, given):
    results = list(explainer.explain(given))
    assert all(isinstance(result, Explanation) for result in results), results
    return results


def test_both_classes_of_two_by_default_and_batches_equal_singles():
    model = classifier()
    together = explained(Explainer(model, batch_size=3), samples(5))
    alone = explained(Explainer(model, batch_size=1), samples(5))
    assert [one.sample.id for one in together] == list("01234")
    for a, b in zip(together, alone, strict=True):
        assert list(a.maps) == ["real", "fake"]
        np.testing.assert_allclose(a.logits, b.logits, rtol=1e-4, atol=1e-5)
        for name in a.maps:
            np.testing.assert_allclose(a.maps[name], b.maps[name], rtol=1e-3, atol=1e-6)


def test_maps_are_those_of_the_attribution():
    model, (sample,) = classifier(), samples(1)
    (explanation,) = explained(Explainer(model, layers=[-1], clamp=None), [sample])
    method = GradientWeightedAttention(model, layers=[-1], clamp=None)
    expected = method.attribute_patches(model.preprocess(sample.image)[None], 1)[0]
    np.testing.assert_allclose(explanation.maps["fake"], expected.numpy(), rtol=1e-5, atol=1e-7)
    assert explanation.options == {
        "layers": [-1],
        "head_fusion": "mean",
        "layer_fusion": "mean",
        "clamp": None,
        "rows": "read_out",
        "rules": None,
    }


def test_one_image_is_explained_without_a_trial_of_the_last_layer(monkeypatch):
    tried = []
    trial = base.readout_layer
    monkeypatch.setattr(base, "readout_layer", lambda *given: tried.append(given) or trial(*given))
    explainer = Explainer(classifier(), GWA)
    (alone,) = [one.explanation for one in explain_each(explainer, samples(1))]
    assert not tried
    first, _ = explained(explainer, samples(2))  # as frames of a video after an image
    assert tried
    for name in alone.maps:
        np.testing.assert_allclose(alone.maps[name], first.maps[name], rtol=1e-3, atol=1e-6)


def test_top_two_of_many_classes_differ_per_image_within_a_batch():
    labels = ("a", "b", "c", "d", "e")
    model = classifier(labels)
    results = explained(Explainer(model, GWA, batch_size=16), samples(16))
    pairs = {tuple(one.maps) for one in results}
    assert len(pairs) > 1, "the images must disagree for this test to say anything"
    for one in results:
        best = np.argsort(-one.logits)[:2]
        assert list(one.maps) == [labels[index] for index in best]
        pixels = model.preprocess(one.sample.image)[None]
        for index in best:
            expected = GradientWeightedAttention(model).attribute_patches(pixels, int(index))[0]
            np.testing.assert_allclose(one.maps[labels[index]], expected.numpy(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "name", "target"),
    [
        ("fake", "fake", 1),
        (0, "real", 0),
        ("1", "fake", 1),
        ("fake-real", "fake-real", Margin(1, 0)),
        (Margin(1), "fake-rest", Margin(1)),
        (Margin(0, 1), "real-fake", Margin(0, 1)),
    ],
)
def test_every_form_of_target(wanted, name, target):
    model, (sample,) = classifier(), samples(1)
    (explanation,) = explained(Explainer(model, target=wanted, clamp=None), [sample])
    expected = GradientWeightedAttention(model, clamp=None).attribute_patches(
        model.preprocess(sample.image)[None], target
    )
    assert list(explanation.maps) == [name]
    np.testing.assert_allclose(explanation.maps[name], expected[0].numpy(), rtol=1e-5, atol=1e-7)


def test_several_targets_and_class_names_with_a_minus():
    model = classifier(("deep-fake", "real"))
    (explanation,) = explained(Explainer(model, target=["deep-fake", "deep-fake-real"]), samples(1))
    assert list(explanation.maps) == ["deep-fake", "deep-fake-real"]


@pytest.mark.parametrize(
    ("labels", "wanted", "message"),
    [
        (("a", "b", "a-b"), [Margin(0, 1), 2], "a-b has the name of another target"),
        (("a", "b", "a-b"), Margin(0, 1), "a-b has the name of another target"),
        (("a", "b-c", "a-b", "c"), "a-b-c", "'a' less 'b-c' and 'a-b' less 'c'"),
        (("a", "b-c", "a-b", "c"), [Margin(0, 1), Margin(2, 3)], "a-b-c has the name of another target"),
        (("a", "b", "rest"), Margin(0), "A class is called rest"),
        (("real", "fake"), "fake-fake", "over itself is 0"),
    ],
)
def test_contrasts_that_could_be_taken_for_others_are_refused(labels, wanted, message):
    with pytest.raises(UsageError, match=message):
        Explainer(classifier(labels, layers=1), target=wanted)


def test_a_margin_over_a_class_called_rest_is_over_that_class_alone(tmp_path):
    model = classifier(("a", "b", "rest"), layers=1)
    explanations = xai.explain(photo(), model, target="a-rest", method="gradient_weighted_attention")
    logits = explanations[0].logits
    assert explanations.to_pandas()["score"][0] == pytest.approx(logits[0] - logits[2])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("fak", "'fake'"),
        ("7", "2 classes: 0 … 1"),
        (-1, "2 classes"),
        ("fake-rael", "fake-real"),
        ([], "no class"),
    ],
)
def test_unknown_targets_are_named_with_the_nearest(wanted, message):
    with pytest.raises(UsageError, match=message):
        Explainer(classifier(), target=wanted)


def test_unknown_method_option_and_batch_size():
    with pytest.raises(UsageError, match="gradient_weighted_attention"):
        Explainer(classifier(), "gradient_weigthed_attention")
    with pytest.raises(UsageError, match="head_fusion"):
        Explainer(classifier(), head_fuson="mean")
    with pytest.raises(UsageError, match="batch_size"):
        Explainer(classifier(), batch_size=0)


def test_seed_reaches_the_methods_that_draw():
    model = classifier()

    def map_of(seed):
        return explained(Explainer(model, "random", seed=seed), samples(1))[0].maps["fake"]

    np.testing.assert_array_equal(map_of(3), map_of(3))
    assert not np.array_equal(map_of(3), map_of(4))


def limited(model, most, error):
    """Make `model` run out of memory above `most` images at once; returns the batch sizes tried."""
    tried, forward = [], model.module.forward

    def short_of_memory(pixels):
        tried.append(len(pixels))
        if len(pixels) > most:
            raise error
        return forward(pixels)

    model.module.forward = short_of_memory
    return tried


MEMORY_ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", MEMORY_ERRORS, ids=["cuda", "cpu", "python"])
def test_out_of_memory_halves_the_batch_for_the_rest_of_the_run(error, caplog):
    model = classifier()
    tried = limited(model, 2, error)
    explainer = Explainer(model, batch_size=8)
    results = explained(explainer, samples(12))
    assert [one.sample.id for one in results] == [str(number) for number in range(12)]
    assert explainer.batch_size == 2
    assert [size for size in tried if size > 2] == [8, 4, 4]
    assert "going on with 2" in caplog.text


def test_out_of_memory_with_one_image_is_that_image_s_failure():
    model = classifier()
    limited(model, 0, torch.OutOfMemoryError("CUDA out of memory."))
    results = list(Explainer(model, batch_size=2).explain(samples(2)))
    assert [result.name for result in results] == ["0", "1"]
    assert all(isinstance(result.error, OutOfMemoryError) for result in results)
    assert "--device cpu" in str(results[0].error)
    assert results[0].error.__traceback__ is None, "a traceback would keep the tensors alive"


def test_other_runtime_errors_are_not_taken_for_lack_of_memory():
    model = classifier()
    limited(model, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        list(Explainer(model).explain(samples(2)))


def test_an_image_that_breaks_the_model_fails_alone():
    model = classifier()
    forward = model.module.forward
    poison = model.preprocess(photo(2))

    def overflow(pixels):
        hit = (pixels == poison).flatten(1).all(1)
        return forward(pixels).masked_fill(hit[:, None], float("nan"))

    model.module.forward = overflow
    results = list(Explainer(model, batch_size=4).explain(samples(6)))
    assert [isinstance(result, Failure) for result in results] == [False, False, True, False, False, False]
    assert "NaN" in str(results[2].error)


def test_a_model_that_cannot_be_explained_is_one_error_not_one_per_image():
    class NoAttention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.patch_size = 8
            self.linear = torch.nn.Linear(3, 2)

        def forward(self, pixels):
            return self.linear(pixels.mean((2, 3)))

    model = classifier()
    model.module = NoAttention()
    with pytest.raises(ModelError, match="has no attention"):
        list(Explainer(model, GWA).explain(samples(3)))


def test_maps_that_are_not_finite_are_failures(monkeypatch):
    model = classifier()
    explainer = Explainer(model, clamp=None)
    whole = explainer.method.attribute_targets

    def broken(pixels, targets, args=None):
        maps = whole(pixels, targets)
        maps[1, 1, 0, 0] = float("inf")
        return maps

    monkeypatch.setattr(explainer.method, "attribute_targets", broken)
    results = list(explainer.explain(samples(3)))
    assert [isinstance(result, Failure) for result in results] == [False, True, False]
    assert "The map of 'fake' is not finite: 1 of 16" in str(results[1].error)


def test_images_of_different_input_sizes_go_in_batches_of_their_own():
    model = classifier(shortest_edge=32)
    given = [Sample(str(n), photo(n, (32 + 8 * (n // 2), 32))) for n in range(4)]
    model.module.backbone.forward = _interpolating(model.module.backbone.forward)
    shapes = [one.maps["fake"].shape for one in explained(Explainer(model), given)]
    assert shapes == [(4, 4), (4, 4), (4, 5), (4, 5)]


def _interpolating(forward):
    return lambda pixels: forward(pixels, interpolate_pos_encoding=True)


def test_box_explains_the_crop_and_lies_on_the_whole_image():
    model, image = classifier(), photo(0, (100, 80))
    (boxed,) = explain(image, model, box=(30, 20, 40, 50))
    (cropped,) = explain(image.crop((30, 20, 70, 70)), model)
    np.testing.assert_array_equal(boxed.maps["fake"], cropped.maps["fake"])
    assert boxed.sample.image.size == (100, 80)
    # the short side of the 40 × 50 crop is kept whole, its middle 40 rows are seen
    assert boxed.geometry.size == (100, 80)
    np.testing.assert_allclose(boxed.geometry.box, (30, 25, 70, 65))
    seen = np.isfinite(boxed.geometry.project(boxed.maps["fake"]))
    assert seen[25:65, 30:70].all()
    assert seen.sum() == 40 * 40


def test_library_call_raises_the_first_failure_or_collects_all(tmp_path):
    paths = write_photos(tmp_path, 3)
    paths[1].write_text("broken")
    with pytest.raises(DataError, match=r"1\.png"):
        explain(tmp_path, classifier())
    failures = []
    results = explain(tmp_path, classifier(), failures=failures)
    assert [one.sample.path.name for one in results] == ["0.png", "2.png"]
    assert [failure.name for failure in failures] == [str(paths[1])]


def test_without_a_method_the_default_preset_explains():
    explainer = Explainer(classifier())
    assert explainer.method_name == DEFAULT_PRESET.method
    assert explainer.options.items() >= DEFAULT_PRESET.options.items()


def test_without_a_method_options_are_those_of_gradient_weighted_attention():
    explainer = Explainer(classifier(), layers=[-1])
    assert (explainer.method_name, explainer.options["layers"]) == (GWA, [-1])


def test_a_model_without_a_class_token_is_explained_in_one_pass_and_told_so(caplog):
    explainer = Explainer(load(zoo.build("siglip"), labels=list("abc"), grid=(4, 4)))
    assert explainer.method_name == PRESETS["one_pass"].method
    assert explainer.options.items() >= PRESETS["one_pass"].options.items()
    assert "no token besides the patches" in caplog.text


@pytest.mark.parametrize("preset", PRESETS)
def test_what_speaks_against_a_preset_is_said_once_when_it_explains(preset, caplog):
    Explainer(classifier(), preset)
    caution = PRESETS[preset].caution
    assert caplog.text.count("Preset") == bool(caution)
    assert caution in caplog.text


@pytest.mark.parametrize("given", [torch.zeros(1, 3, 32, 32), [np.zeros((32, 32, 3))], None, 3])
def test_what_is_no_image_is_refused_by_its_type(given):
    with pytest.raises(UsageError, match="is no image to explain"):
        xai.explain(given, "demo")
