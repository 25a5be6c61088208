"""`xai.load`: every kind of spec, and what is said of a wrong one."""

import json
import sys

import numpy as np
import pytest
import tiny_models as tiny
import torch
import transformers as hf
from PIL import Image
from torch import nn

import xai
from xai.core import ModelError, PatchGrid, UsageError
from xai.models import Classifier, list_sources
from xai.models.libraries import _preprocessing as open_clip_preprocessing
from xai.models.libraries import read_data_config as timm_preprocessing


def vit() -> nn.Module:
    return tiny.randomize(hf.ViTForImageClassification(hf.ViTConfig(**tiny.TOWER)))


def test_demo():
    classifier = xai.load("demo")
    assert classifier.labels == ("real", "fake")
    pixels = classifier.preprocess(Image.new("RGB", (300, 200), "gray"))
    assert pixels.shape == (3, *classifier.input_size)
    with torch.no_grad():
        assert classifier(pixels[None]).shape == (1, 2)
    described = classifier.describe()
    assert described["name"] == "demo"
    assert described["family"] == "clip"
    assert json.loads(json.dumps(described)) == described


def test_classifier_is_returned_as_it_is():
    classifier = Classifier(vit(), ["a", "b"], name="x")
    assert xai.load(classifier) is classifier
    with pytest.raises(UsageError, match=r"returned as it is[\s\S]*\.to\("):
        xai.load(classifier, dtype="bfloat16")


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"dtype": torch.float64}, {"device": "cpu"}])
def test_module_of_the_caller_is_not_moved(options):
    module = vit()
    classifier = xai.load(module, labels=["a", "b"], **options)
    assert classifier.module is not module
    assert {(p.dtype, p.device.type) for p in module.parameters()} == {(torch.float32, "cpu")}
    moved = options.get("dtype") if isinstance(options.get("dtype"), torch.dtype) else None
    assert classifier.device.type == options.get("device", "cpu")
    assert classifier.dtype == {"bfloat16": torch.bfloat16}.get(options.get("dtype"), moved or torch.float32)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("demmo", r"Unknown model 'demmo'. Did you mean 'demo'\?"),
        ("hff:openai/clip", r"Did you mean 'hf'\?"),
        ("clip:ViT", r"Unknown model 'clip:ViT'"),
        ("hf:", r"'hf:' names no model"),
    ],
)
def test_unknown_spec(spec, message):
    with pytest.raises(UsageError, match=message):
        xai.load(spec)


def test_paths_without_a_kind(tmp_path):
    with pytest.raises(UsageError, match=r"is a folder[\s\S]*local:"):
        xai.load(tmp_path)
    weights = tmp_path / "ckpt.pth"
    weights.touch()
    with pytest.raises(UsageError, match=r"is no YAML file[\s\S]*weights="):
        xai.load(weights)
    with pytest.raises(ModelError, match="There is no folder"):
        xai.load(f"local:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float12"}, r"Unknown dtype 'float12'.\s+Did you mean 'float"),
        ({"device": "gpu"}, r"cannot be put on gpu"),
        ({"device": "meta"}, r"weights have no values"),
        ({"device": 1.5}, r"cannot be put on 1.5"),
        ({"dtype": 3}, r"dtype=3 is not understood"),
        ({"weights": 3}, r"weights=3 is not understood"),
        ({"weights": "x.pth"}, "weights and prompts belong to a model that is named"),
        ({"prompts": ["a", "b"]}, "weights and prompts belong to a model that is named"),
    ],
)
def test_wrong_options_for_a_module(options, message):
    with pytest.raises(UsageError, match=message):
        xai.load(vit(), labels=["a", "b"], **options)


@pytest.mark.parametrize(
    "labels",
    [
        {1: "fake", 0: "real"},
        {"fake": 1, "real": 0},
        {"1": "fake", "0": "real"},  # as JSON writes it
        {"fake": "1", "real": "0"},
        np.array(["real", "fake"]),
        ("real", "fake"),
    ],
)
def test_labels_are_in_the_order_of_their_numbers(labels):
    assert xai.load(vit(), labels=labels).labels == ("real", "fake")


def test_names_that_are_digits_stay_names():
    assert xai.load(vit(), labels={"1": 0, "0": 1}).labels == ("1", "0")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("ab", "no sequence of class names"),
        (2, "no sequence of class names"),
        ({"real", "fake"}, "no sequence of class names"),  # whose order is anybody's guess
        ([0, 1], "The class name 0 is no text but int"),
        (["real", None], "The class name None is no text"),
        ({1: "real", 2: "fake"}, "does not number the classes 0 … 1"),
        ({"real": 0, "fake": 0}, "does not number the classes"),
        ({"real": "a", "fake": "b"}, "does not number the classes"),
    ],
)
def test_labels_that_are_none(labels, message):
    with pytest.raises(UsageError, match=message):
        xai.load(vit(), labels=labels)
    with pytest.raises(UsageError, match=message):
        Classifier(vit(), labels, name="x")


@pytest.mark.parametrize("spec", ["", "local:", "hf:"])
def test_a_spec_that_names_nothing(spec):
    with pytest.raises(UsageError, match="names no model"):
        xai.load(spec)


def test_options_that_a_source_does_not_read(tmp_path):
    spec = tiny.save_pretrained(tmp_path, vit())
    with pytest.raises(UsageError, match="weights belong to a YAML file"):
        xai.load(spec, weights="x.pth")
    with pytest.raises(UsageError, match="demo reads no prompts"):
        xai.load("demo", prompts=["a", "b"])


def test_labels_are_counted_at_load(tmp_path):
    spec = tiny.save_pretrained(tmp_path, vit())
    with pytest.raises(UsageError, match="has 2 classes but 3 labels were given: a, b, c"):
        xai.load(spec, labels=["a", "b", "c"])
    with pytest.raises(UsageError, match="demo has 2 classes but 1 labels"):
        xai.load("demo", labels=["a"])


def test_grid_dtype_and_device_of_a_folder(tmp_path):
    spec = tiny.save_pretrained(tmp_path, vit())
    classifier = xai.load(spec, grid=(4, 4), dtype="float64", device="cpu")
    assert classifier.grid == PatchGrid(4, 4, 1)
    assert classifier.dtype == torch.float64
    assert xai.load(spec, grid=PatchGrid(8, 2, 1)).grid == PatchGrid(8, 2, 1)


@pytest.mark.parametrize(
    ("spec", "module", "extra"),
    [
        ("timm:vit_tiny_patch16_224", "timm", "timm"),
        ("open_clip:ViT-B-32/openai", "open_clip", "open-clip"),
    ],
)
def test_missing_extra(monkeypatch, spec, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"{module} is not installed[\s\S]*vit-xai\[{extra}\]"):
        xai.load(spec)


def test_timm_evaluation_transform():
    data = {"input_size": (3, 224, 224), "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}
    centre = timm_preprocessing({**data, "crop_pct": 0.9, "crop_mode": "center"})
    assert (centre.shortest_edge, centre.crop, centre.mean) == (248, (224, 224), (0.5, 0.5, 0.5))
    squash = timm_preprocessing({**data, "crop_pct": 1.0, "crop_mode": "squash"})
    assert (squash.size, squash.input_size) == ((224, 224), (224, 224))
    with pytest.raises(ModelError, match="crop mode border"):
        timm_preprocessing({**data, "crop_pct": 1.0, "crop_mode": "border"})


def test_open_clip_transform():
    data = {"size": 224, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}
    shortest = open_clip_preprocessing({**data, "resize_mode": "shortest"})
    assert (shortest.shortest_edge, shortest.crop) == (224, (224, 224))
    assert open_clip_preprocessing({**data, "size": (64, 32), "resize_mode": "squash"}).size == (64, 32)
    with pytest.raises(ModelError, match="resize mode longest"):
        open_clip_preprocessing({**data, "resize_mode": "longest"})


def test_sources_are_listed():
    assert [source.spec.partition(":")[0] for source in list_sources()] == [
        "demo",
        "FILE.yaml",
        "hf",
        "local",
        "timm",
        "open_clip",
    ]
    assert all(source.summary for source in list_sources())


@pytest.mark.parametrize(
    "given", [None, {"weight": 1}, lambda pixels: pixels], ids=["None", "dict", "function"]
)
def test_what_is_neither_a_name_nor_a_module_is_refused_by_its_type(given):
    with pytest.raises(UsageError, match=rf"this is a {type(given).__name__}\."):
        xai.load(given, labels=["real", "fake"])
