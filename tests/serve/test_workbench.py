"""What is found out is what the command line finds; the page is told of all of it."""

import json
from base64 import b64decode
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from serving import added, png
from tiny_detector import classifier, hierarchical, photo

from xai.attention import mask_patches
from xai.core import ModelError, Sample, UsageError
from xai.core.target import log_odds
from xai.explanation import Explainer, Failure
from xai.perturb import Stream, make_operator
from xai.serve import jobs
from xai.serve.model import ServeSettings
from xai.serve.uploads import Limits
from xai.serve.workbench import Workbench


def decoded(grid) -> np.ndarray:
    codes = np.frombuffer(b64decode(grid["values"]), "<i2").reshape(grid["rows"], grid["cols"])
    return codes * (grid["limit"] / 32767)


def test_an_image_is_answered_and_told(bench, heard):
    image = bench.add(png(photo(3, (48, 32))), "a.png")
    told = heard.until(lambda one: one["kind"] == "image")
    model = classifier()
    logits = model(model.preprocess(photo(3, (48, 32)))[None])[0].softmax(0)
    assert (told["id"], told["name"], told["width"], told["height"]) == (image, "a.png", 48, 32)
    assert told["seen"] == [8, 0, 40, 32]
    assert told["grid"] == [4, 4]
    assert told["probabilities"] == pytest.approx(
        dict(zip(model.labels, logits.tolist(), strict=True)), abs=1e-6
    )
    assert list(told["probabilities"].values()) == sorted(told["probabilities"].values(), reverse=True)
    assert told["picture"].startswith("data:image/webp;base64,")


def test_maps_are_those_of_the_explainer_and_fake_comes_before_real(bench, heard, passes):
    images = [added(bench, heard, seed) for seed in range(2)]
    methods = ["saliency", "gradient_weighted_attention"]
    job = bench.explain(images, methods)
    end = heard.end_of(job)
    assert (end["state"], end["done"], end["what"]) == ("done", 4, "Explaining 2 images")
    told = heard.of("map")
    assert [(one["image"], one["method"]) for one in told] == [(i, m) for i in images for m in methods]
    for one in told:
        seed = images.index(one["image"])
        (expected,) = Explainer(classifier(), one["method"]).explain([Sample("x", photo(seed))])
        assert not isinstance(expected, Failure)
        assert list(one["maps"]) == ["fake", "real"]
        for label, grid in one["maps"].items():
            assert decoded(grid) == pytest.approx(expected.maps[label], abs=grid["limit"] / 32766)
    # what is known is not asked again
    del passes[:]
    heard.end_of(bench.explain(images, methods))
    assert not passes
    assert len(heard.of("map")) == 4


@pytest.fixture
def passes(bench) -> Iterator[list[int]]:
    """An entry for each forward pass."""
    found: list[int] = []
    handle = bench.model.classifier.register_forward_pre_hook(lambda module, given: found.append(1))
    yield found
    handle.remove()


CELLS = [0, 1, 4, 5]


def test_a_region_is_truly_absent_where_the_model_allows_it(bench, heard):
    image = added(bench, heard)
    heard.end_of(bench.remove_region(image, CELLS, "fake", draws=0, seed=0))
    (told,) = heard.of("region")
    model = classifier()
    pixels = model.preprocess(photo(0))[None]
    present = torch.ones(1, 16, dtype=torch.bool)
    present[0, CELLS] = False
    target = torch.tensor([1])
    with torch.no_grad():
        clean = log_odds(model(pixels), target)
        with mask_patches(model, present, model.grid, images=1):
            without = log_odds(model(pixels), target)
    assert told["operator"] == "token"
    assert told["clean"] == pytest.approx(float(clean), abs=1e-5)
    assert told["without"] == pytest.approx(float(without), abs=1e-5)
    assert told["without"] != pytest.approx(told["clean"], abs=1e-4)
    assert (told["cells"], told["patches"], told["random"], told["p"]) == (CELLS, 16, [], None)


def test_random_regions_are_seeded_of_the_same_size_and_elsewhere(bench, heard, monkeypatch):
    image = added(bench, heard)
    tables = []
    whole = Stream.evaluate

    def evaluate(self, pixels, targets, requests):
        tables.append(requests[0].states)
        return whole(self, pixels, targets, requests)

    monkeypatch.setattr(Stream, "evaluate", evaluate)
    for seed in (0, 0, 1):
        heard.end_of(bench.remove_region(image, CELLS, "fake", draws=19, seed=seed))
    first, again, other = heard.of("region")
    assert first == again
    assert len(first["random"]) == 19
    assert other["random"] != first["random"]
    assert other["without"] == first["without"]
    lower = sum(one <= first["without"] for one in first["random"])
    assert first["p"] == pytest.approx((1 + lower) / 20)
    states = tables[0]
    own = set(CELLS)
    for row, high in zip(states.row[2:].tolist(), states.high[2:].tolist(), strict=True):
        removed = set((states.rankings[row].flatten() < high).nonzero()[:, 0].tolist())
        assert len(removed) == len(CELLS)
        assert not removed & own


def test_more_than_a_third_has_no_random_regions_beside_it(bench, heard):
    image = added(bench, heard)
    heard.end_of(bench.remove_region(image, range(6), "fake", draws=19, seed=0))
    (told,) = heard.of("region")
    assert told["random"] == []
    assert told["p"] is None
    assert told["without"] is not None


def test_a_model_that_needs_all_patches_sees_their_mean_colour_and_it_is_said(heard):
    bench = Workbench({"swin": hierarchical}, ServeSettings(), Limits(), heard)
    heard.until(lambda one: one["kind"] == "model" and one["state"] == "ready")
    image = added(bench, heard)
    grid = bench.images[image].answer.grid
    heard.end_of(bench.remove_region(image, [0, 1], "fake", draws=0, seed=0))
    (told,) = heard.of("region")
    assert told["operator"] == "mean"
    model = hierarchical()
    pixels = model.preprocess(photo(0))[None]
    operator = make_operator("mean")
    removed = torch.zeros(1, *grid, dtype=torch.bool)
    removed.view(1, -1)[0, [0, 1]] = True
    with torch.no_grad():
        baseline = operator.prepare(model, pixels, [0])
        logits = operator.logits(model, pixels, baseline, removed, torch.zeros(1, dtype=torch.long))
    assert told["without"] == pytest.approx(float(log_odds(logits, torch.tensor([1]))), abs=1e-5)
    bench.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": [16]}, "Patches are 0 to 15"),
        ({"cells": [-1]}, "Patches are 0 to 15"),
        ({"target": "fak"}, "Unknown class 'fak'"),
        ({"draws": 1000}, "random regions 0 to 199"),
        ({"image_id": "none"}, "not held any more"),
    ],
)
def test_wrong_requests_are_refused_at_once(bench, heard, change, message):
    given = {"image_id": added(bench, heard), "cells": [0], "target": "fake", "draws": 0, "seed": 0}
    with pytest.raises(UsageError, match=message):
        bench.remove_region(**given | change)


def test_unknown_methods_models_and_files_are_refused(bench, heard):
    image = added(bench, heard)
    with pytest.raises(UsageError, match="Unknown method 'salency'"):
        bench.explain([image], ["salency"])
    with pytest.raises(UsageError, match="Unknown model '/etc/passwd'"):
        bench.choose_model("/etc/passwd")
    with pytest.raises(UsageError, match="nothing to explain"):
        bench.explain([], ["saliency"])
    with pytest.raises(UsageError, match="nothing to save"):
        bench.save("page", [image], ["saliency"], None)


def test_a_method_that_fails_on_an_image_is_told_and_the_others_go_on(bench, heard, monkeypatch):
    image = added(bench, heard)
    broken = bench.model.explainer("saliency")

    def explain(samples):
        raise UsageError("It does not work.", "Take another.")

    monkeypatch.setattr(broken, "explain", explain)
    end = heard.end_of(bench.explain([image], ["saliency", "raw_attention"]))
    assert end["state"] == "done"
    (told,) = heard.of("unexplained")
    assert (told["method"], told["message"], told["hint"]) == (
        "saliency",
        "It does not work.",
        "Take another.",
    )
    assert [one["method"] for one in heard.of("map")] == ["raw_attention"]


def test_another_model_takes_the_place_of_one_and_images_stay(heard):
    def missing():
        raise UsageError("There is no such model.", "Give another.")

    three = partial(classifier, labels=("a", "b", "c"))
    settings = ServeSettings(target=["a-c", "b"])
    bench = Workbench({"missing": missing, "three": three}, settings, Limits(), heard)
    end = heard.until(lambda one: one["kind"] == "job" and one["state"] == "failed")
    assert (end["message"], end["hint"]) == ("There is no such model.", "Give another.")
    assert heard.of("model")[-1]["state"] == "failed"
    image = bench.add(png(photo(0)), "a.png")
    with pytest.raises(ModelError, match="No model is loaded"):
        bench.explain([image], ["saliency"])
    heard.end_of(bench.choose_model("three"))
    told = heard.until(lambda one: one["kind"] == "image")
    assert told["id"] == image
    assert set(told["probabilities"]) == {"a", "b", "c"}
    heard.end_of(bench.explain([image], ["saliency"]))
    assert list(heard.of("map")[0]["maps"]) == ["a-c", "b"]
    # and again: maps of the model that went are forgotten, the image is answered anew
    del heard[:]
    heard.end_of(bench.choose_model("three"))
    assert heard.until(lambda one: one["kind"] == "image")["id"] == image
    assert bench.images[image].explanations == {}
    assert [one["state"] for one in heard.of("model")] == ["loading", "ready"]
    bench.close()


def test_a_page_that_comes_later_is_told_everything(bench, heard):
    image = added(bench, heard)
    heard.end_of(bench.explain([image], ["saliency"]))
    told = json.loads(json.dumps(bench.snapshot()))
    assert [one["name"] for one in told["models"]] == ["tiny", "three"]
    assert told["model"]["state"] == "ready"
    assert told["images"] == [heard.of("image")[0]]
    assert told["maps"] == heard.of("map")
    assert told["jobs"] == []
    bench.remove(image)
    assert bench.snapshot()["images"] == []


def test_a_cancelled_explanation_ends_within_a_method(bench, heard, passes):
    image = added(bench, heard)
    del passes[:]
    jobs = []
    handle = bench.model.classifier.register_forward_pre_hook(
        lambda module, given: bench.worker.cancel(jobs[0]) if len(passes) == 2 else None
    )
    with bench.worker._changed:  # the worker waits until the job's name is known
        jobs.append(bench.explain([image], ["integrated_gradients"]))
    end = heard.end_of(jobs[0])
    handle.remove()
    assert end["state"] == "stopped"
    assert len(passes) == 2
    assert heard.of("map") == []
    assert not bench.model.classifier._forward_hooks


def test_an_image_that_is_removed_while_it_is_explained(bench, heard):
    image = added(bench, heard)
    handle = bench.model.classifier.register_forward_pre_hook(
        lambda module, given: bench.remove(image) if image in bench.images else None
    )
    end = heard.end_of(bench.explain([image], ["saliency", "raw_attention"]))
    handle.remove()
    assert end["state"] == "done"
    assert heard.of("map") == []
    assert heard.of("removed") == [{"kind": "removed", "id": image}]


def test_nothing_is_written(bench, heard, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = added(bench, heard)
    heard.end_of(bench.explain([image], ["saliency"]))
    heard.end_of(bench.save("picture", [image], ["saliency"], "fake"))
    assert not list(tmp_path.iterdir())


def test_what_is_closed_holds_nothing(heard):
    bench = Workbench({"missing": lambda: 1 / 0}, ServeSettings(), Limits(), heard)
    bench.add(png(photo(0)), "a.png")
    bench.close()
    assert not bench._uploads
    for job in {one["id"] for one in heard.of("job")}:
        assert heard.end_of(job)["state"] in ("stopped", "failed")


def test_more_images_than_requests_may_wait_are_all_seen_by_another_model(bench, heard, monkeypatch):
    """Each is looked at again; none may be held, and counted, without being seen."""
    images = {added(bench, heard, seed) for seed in range(3)}
    monkeypatch.setattr(jobs, "MOST_WAITING", 2)
    try:
        heard.clear()
        assert heard.end_of(bench.choose_model("three"))["state"] == "done"
        for image in images:
            heard.until(lambda one, image=image: one["kind"] == "image" and one["id"] == image)
        assert set(bench.images) == images
    finally:
        monkeypatch.undo()
        heard.end_of(bench.choose_model("tiny"))
