"""Folders as transformers writes them: image classifiers, and CLIP and SigLIP with texts as classes."""

import numpy as np
import pytest
import tiny_models as tiny
import torch
import transformers as hf
from architectures import ARCHITECTURES
from architectures.architecture import LABELS
from PIL import Image
from torch import nn

import xai
from xai import attr
from xai.core import ModelError, PatchGrid, UsageError

TEXTS = ["a photo of a real face", "a fake"]


def classifier_model(kind: str) -> nn.Module:
    labels = {"id2label": {0: "cat", 1: "dog", 2: "eel"}}
    models = {
        "vit": lambda: hf.ViTForImageClassification(hf.ViTConfig(**tiny.TOWER, **labels)),
        "dinov2": lambda: hf.Dinov2ForImageClassification(hf.Dinov2Config(**tiny.TOWER, **labels)),
        "clip": lambda: hf.CLIPForImageClassification(
            hf.CLIPConfig(vision_config=tiny.TOWER, text_config=tiny.TEXT, **labels)
        ),
    }
    return tiny.randomize(models[kind]())


@pytest.mark.parametrize("kind", ["vit", "dinov2", "clip"])
def test_image_classifier(tmp_path, kind):
    model = classifier_model(kind)
    classifier = xai.load(tiny.save_pretrained(tmp_path, model))
    x = tiny.pixels()
    with torch.no_grad():
        torch.testing.assert_close(classifier(x), model(pixel_values=x).logits)
    assert classifier.labels == ("cat", "dog", "eel")
    assert classifier.grid == PatchGrid(4, 4, 1)
    assert classifier.input_size == (32, 32)
    assert classifier.name == f"local:{tmp_path}"
    assert not classifier.module.training


def test_own_labels(tmp_path):
    spec = tiny.save_pretrained(tmp_path, classifier_model("vit"))
    assert xai.load(spec, labels=["x", "y", "z"]).labels == ("x", "y", "z")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_clip_zero_shot(tmp_path, dtype):
    model, tokenizer = tiny.clip_model(), tiny.clip_tokenizer()
    classifier = xai.load(tiny.save_pretrained(tmp_path, model, tokenizer), prompts=TEXTS, dtype=dtype)
    tokens = tokenizer(TEXTS, return_tensors="pt", padding=True)
    x = tiny.pixels(3)
    with torch.no_grad():
        expected = model(pixel_values=x, **tokens).logits_per_image
        logits = classifier(x)
    assert logits.dtype == dtype
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]
    torch.testing.assert_close(logits.float(), expected, rtol=tolerance, atol=tolerance)
    assert classifier.labels == tuple(TEXTS)
    assert classifier.grid == PatchGrid(4, 4, 1)
    assert classifier.describe()["prompts"] == TEXTS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_siglip_zero_shot(tmp_path, dtype):
    model, tokenizer = tiny.siglip_model(), tiny.word_tokenizer()
    texts = ["a real face", "a fake face", "fake"]
    spec = tiny.save_pretrained(tmp_path, model, tokenizer)
    classifier = xai.load(spec, prompts=texts, labels=["real", "fake", "other"], dtype=dtype)
    ids = tokenizer(texts, return_tensors="pt", padding="max_length", max_length=32)["input_ids"]
    x = tiny.pixels(3)
    with torch.no_grad():
        expected = model(pixel_values=x, input_ids=ids).logits_per_image
        logits = classifier(x)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]
    torch.testing.assert_close(logits.float(), expected, rtol=tolerance, atol=tolerance)
    assert classifier.labels == ("real", "fake", "other")
    assert classifier.grid == PatchGrid(4, 4, 0)


def test_labels_stand_for_prompts(tmp_path):
    spec = tiny.save_pretrained(tmp_path, tiny.clip_model(), tiny.clip_tokenizer())
    with torch.no_grad():
        x = tiny.pixels()
        torch.testing.assert_close(xai.load(spec, labels=TEXTS)(x), xai.load(spec, prompts=TEXTS)(x))


def test_zero_shot_needs_texts(tmp_path):
    spec = tiny.save_pretrained(tmp_path, tiny.clip_model(), tiny.clip_tokenizer())
    with pytest.raises(UsageError, match="its classes are texts"):
        xai.load(spec)
    with pytest.raises(UsageError, match="2 prompts but 3 labels"):
        xai.load(spec, prompts=TEXTS, labels=["a", "b", "c"])


def test_prompts_for_a_model_without_texts(tmp_path):
    spec = tiny.save_pretrained(tmp_path, classifier_model("vit"))
    with pytest.raises(UsageError, match="reads no texts"):
        xai.load(spec, prompts=TEXTS)


def test_imagegpt_reads_each_pixel_as_the_nearest_colour(tmp_path):
    """Its logits are cut off from the pixels, so that gradients are refused and removal explains."""
    one = ARCHITECTURES["huggingface/imagegpt"]
    classifier = one.load(tmp_path)
    processor = hf.ImageGPTImageProcessorPil.from_pretrained(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))
    with torch.no_grad():
        expected = one.build()(**processor(image, return_tensors="pt")).logits
        torch.testing.assert_close(classifier(classifier.preprocess(image)[None]), expected)
    with pytest.raises(ModelError, match=r"cut off from the pixels[\s\S]*occlusion"):
        attr.create("integrated_gradients", classifier).attribute(one.pixels(), target=1)
    (found,) = xai.explain(image, classifier)
    assert all(np.std(one) > 0 for one in found.maps.values())


def test_logits_that_are_called_a_state(tmp_path):
    one = ARCHITECTURES["huggingface/pp_lcnet"]
    model = one.build()
    spec = tiny.save_pretrained(tmp_path, model, size={"shortest_edge": 64}, crop_size=64)
    classifier = xai.load(spec)
    with torch.no_grad():
        expected = model(one.pixels()).last_hidden_state
        torch.testing.assert_close(classifier(one.pixels()), expected)
    assert classifier.labels == LABELS


def test_a_head_that_would_be_random_is_refused(tmp_path):
    """A bare tower loaded as a classifier gets a made-up head: transformers only warns."""
    model = classifier_model("vit")
    tiny.save_pretrained(tmp_path, model.vit)
    config = hf.ViTConfig.from_pretrained(tmp_path)
    config.architectures = ["ViTForImageClassification"]
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"missing: classifier\.bias, classifier\.weight"):
        xai.load(f"local:{tmp_path}")


def test_weights_of_another_size_are_refused(tmp_path):
    spec = tiny.save_pretrained(tmp_path, classifier_model("vit"))
    config = hf.ViTConfig.from_pretrained(tmp_path)
    config.id2label = {0: "a", 1: "b"}
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"mismatched: classifier\.bias \(3,\) instead of \(2,\)"):
        xai.load(spec)


def test_no_image_classifier(tmp_path):
    tiny.save_pretrained(tmp_path, tiny.clip_tower())
    with pytest.raises(ModelError, match=r"no image classifier but CLIPVisionModel"):
        xai.load(f"local:{tmp_path}")


def test_folder_without_config(tmp_path):
    with pytest.raises(ModelError, match=r"cannot be loaded[\s\S]*config\.json"):
        xai.load(f"local:{tmp_path}")


def test_folder_without_processor(tmp_path):
    classifier_model("vit").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="cannot be loaded"):
        xai.load(f"local:{tmp_path}")


def test_folder_with_truncated_weights(tmp_path):
    spec = tiny.save_pretrained(tmp_path, classifier_model("vit"))
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        xai.load(spec)


def test_code_in_the_folder_is_not_run(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    (tmp_path / "config.json").write_text(
        '{"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig"}}'
    )
    with pytest.raises(ModelError, match="cannot be loaded"):
        xai.load(f"local:{tmp_path}")
    assert not marker.exists()
