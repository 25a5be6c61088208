"""Folders of models whose classes are texts: logits as transformers' own, for every kind that is built."""

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models as tiny
import torch
import transformers as hf
from PIL import Image

import xai
from xai.core import ModelError, PatchGrid, ProblemType

TEXTS = ["a real face", "fake", "a fake face"]
BERT = {**tiny.TEXT, "vocab_size": 6, "pad_token_id": 1}
CLIP_TEXT = {**tiny.TEXT, "vocab_size": 6, "bos_token_id": 4, "eos_token_id": 4, "pad_token_id": 1}
WIDE = {**tiny.TEXT, "hidden_size": tiny.WIDTH, "vocab_size": 6, "projection_size": tiny.WIDTH}
NAFLEX = {key: value for key, value in tiny.TOWER.items() if key != "image_size"} | {"num_patches": 16}
EFFICIENT = {
    "image_size": tiny.SIZE,
    "width_coefficient": 0.5,
    "depth_coefficient": 0.5,
    "hidden_dim": 640,
}


def groupvit() -> hf.GroupViTModel:
    tower = {
        "image_size": tiny.SIZE,
        "patch_size": tiny.PATCH,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "depths": [1, 1, 1],
        "num_group_tokens": [4, 2, 0],
        "num_output_groups": [4, 2, 2],
    }
    return hf.GroupViTModel(hf.GroupViTConfig(vision_config=tower, text_config=CLIP_TEXT, projection_dim=24))


def vision_text_dual_encoder() -> hf.VisionTextDualEncoderModel:
    config = hf.VisionTextDualEncoderConfig.from_vision_text_configs(
        hf.ViTConfig(**tiny.TOWER), hf.BertConfig(**BERT), projection_dim=24
    )
    return hf.VisionTextDualEncoderModel(config)


MODELS: dict[str, Callable[[], Any]] = {
    "align": lambda: hf.AlignModel(
        hf.AlignConfig(vision_config=EFFICIENT, text_config=BERT, projection_dim=160)
    ),
    "altclip": lambda: hf.AltCLIPModel(
        hf.AltCLIPConfig(vision_config=tiny.TOWER, text_config={**BERT, "project_dim": 32}, projection_dim=24)
    ),
    "blip": lambda: hf.BlipModel(
        hf.BlipConfig(vision_config=tiny.TOWER, text_config=BERT, projection_dim=24)
    ),
    "chinese_clip": lambda: hf.ChineseCLIPModel(
        hf.ChineseCLIPConfig(vision_config=tiny.TOWER, text_config=BERT, projection_dim=24)
    ),
    "clip": lambda: hf.CLIPModel(
        hf.CLIPConfig(vision_config=tiny.TOWER, text_config=CLIP_TEXT, projection_dim=24)
    ),
    "clipseg": lambda: hf.CLIPSegModel(
        hf.CLIPSegConfig(vision_config=tiny.TOWER, text_config=CLIP_TEXT, projection_dim=24)
    ),
    "groupvit": groupvit,
    "metaclip_2": lambda: hf.MetaClip2Model(
        hf.MetaClip2Config(vision_config=tiny.TOWER, text_config=CLIP_TEXT, projection_dim=24)
    ),
    "siglip": lambda: hf.SiglipModel(hf.SiglipConfig(vision_config=tiny.TOWER, text_config=WIDE)),
    "vision-text-dual-encoder": vision_text_dual_encoder,
}
INDEPENDENT = {"siglip"}


PADDED = {"padding": "max_length", "max_length": 32, "return_attention_mask": False}  # as SigLIP was trained


def tokens(tokenizer: Any, **options: Any) -> dict[str, torch.Tensor]:
    return dict(tokenizer(TEXTS, return_tensors="pt", **(options or {"padding": True})))


def siglip2_tokenizer() -> hf.Siglip2Tokenizer:
    """Letters only, no merges."""
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", *string.ascii_lowercase]
    return hf.Siglip2Tokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))


@pytest.mark.parametrize("kind", MODELS)
def test_logits_are_transformers_own(tmp_path: Path, kind: str) -> None:
    model = tiny.randomize(MODELS[kind]())
    assert model.config.model_type == kind
    classifier = xai.load(tiny.save_pretrained(tmp_path, model, tiny.word_tokenizer()), prompts=TEXTS)
    x = tiny.pixels(3)
    words = tokens(tiny.word_tokenizer(), **(PADDED if kind == "siglip" else {}))
    with torch.no_grad():
        expected = model(pixel_values=x, **words).logits_per_image
        got = classifier(x)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 1e-3
    assert classifier.labels == tuple(TEXTS)
    wanted = ProblemType.MULTI_LABEL if kind in INDEPENDENT else ProblemType.SINGLE_LABEL
    assert classifier.problem_type is wanted
    assert not any("text" in name for name, _ in classifier.module.named_modules())  # read once, not kept


@pytest.mark.parametrize("size", [(32, 32), (60, 30), (21, 70)])
def test_naflex_sees_an_image_in_its_own_shape(tmp_path: Path, size: tuple[int, int]) -> None:
    """From the image on, against transformers' processor, which pads the row of patches and masks it."""
    text = {**WIDE, "vocab_size": 31}
    model = tiny.randomize(hf.Siglip2Model(hf.Siglip2Config(vision_config=NAFLEX, text_config=text)))
    model.save_pretrained(tmp_path)
    siglip2_tokenizer().save_pretrained(tmp_path)
    processor = hf.Siglip2ImageProcessorPil(patch_size=tiny.PATCH, max_num_patches=20)
    processor.save_pretrained(tmp_path)
    classifier = xai.load(f"local:{tmp_path}", prompts=TEXTS)
    given = processor(noise(size), return_tensors="pt")
    pixels = classifier.preprocess(noise(size))
    rows, cols = (int(n) for n in given["spatial_shapes"][0])
    assert pixels.shape == (3, rows * tiny.PATCH, cols * tiny.PATCH)
    assert rows * cols <= 20
    with torch.no_grad():
        expected = model(**given, **tokens(siglip2_tokenizer(), **PADDED)).logits_per_image
        torch.testing.assert_close(classifier(pixels[None]), expected, rtol=1e-5, atol=1e-5)
    assert classifier.problem_type is ProblemType.MULTI_LABEL
    assert classifier.geometry(size).box == (0, 0, *size)
    (found,) = xai.explain(noise(size), classifier, method="gradient_weighted_attention")
    assert next(iter(found.maps.values())).shape == (rows, cols)


def test_naflex_classifier(tmp_path: Path) -> None:
    config = hf.Siglip2Config(vision_config=NAFLEX, text_config=WIDE, id2label={0: "real", 1: "fake"})
    model = tiny.randomize(hf.Siglip2ForImageClassification(config))
    model.save_pretrained(tmp_path)
    processor = hf.Siglip2ImageProcessorPil(patch_size=tiny.PATCH, max_num_patches=20)
    processor.save_pretrained(tmp_path)
    classifier = xai.load(f"local:{tmp_path}")
    given = processor(noise((50, 37)), return_tensors="pt")
    with torch.no_grad():
        expected = model(**given).logits
        got = classifier(classifier.preprocess(noise((50, 37)))[None])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert classifier.labels == ("real", "fake")


def test_matching_head_of_blip(tmp_path: Path) -> None:
    """Its answer is whether each text matches, so a text's sigmoid is the probability of a match."""
    config = hf.BlipConfig(vision_config=tiny.TOWER, text_config={**BERT, "encoder_hidden_size": tiny.WIDTH})
    model = tiny.randomize(hf.BlipForImageTextRetrieval(config))
    classifier = xai.load(tiny.save_pretrained(tmp_path, model, tiny.word_tokenizer()), prompts=TEXTS)
    x = tiny.pixels(2)
    words = tokens(tiny.word_tokenizer())
    ids, mask = words["input_ids"], words["attention_mask"]
    with torch.no_grad():
        pairs = [
            model(pixel_values=x, input_ids=ids[[i, i]], attention_mask=mask[[i, i]])
            for i in range(len(TEXTS))
        ]
        expected = torch.stack([one.itm_score.softmax(-1)[:, 1] for one in pairs], dim=1)
        got = classifier(x)
    torch.testing.assert_close(got.sigmoid(), expected, rtol=1e-5, atol=1e-6)
    assert classifier.problem_type is ProblemType.MULTI_LABEL
    exclusive = xai.load(f"local:{tmp_path}", prompts=TEXTS, problem_type="single_label_classification")
    assert exclusive.problem_type is ProblemType.SINGLE_LABEL


@pytest.mark.parametrize("kind", ["altclip", "clip", "metaclip_2", "siglip"])
def test_attention_of_the_image_is_explained(tmp_path: Path, kind: str) -> None:
    spec = tiny.save_pretrained(tmp_path, tiny.randomize(MODELS[kind]()), tiny.word_tokenizer())
    classifier = xai.load(spec, prompts=TEXTS)
    assert classifier.grid == PatchGrid(4, 4, int(kind != "siglip"))
    (found,) = xai.explain(noise((40, 40)), classifier)
    maps = [np.asarray(one) for one in found.maps.values()]
    assert all(one.shape == (4, 4) and np.isfinite(one).all() and one.std() > 0 for one in maps)


OTHERS = {
    "flava": hf.FlavaConfig,
    "owlvit": hf.OwlViTConfig,
    "xclip": hf.XCLIPConfig,
    "blip-2": hf.Blip2Config,
}


@pytest.mark.parametrize("prompts", [TEXTS, None])
@pytest.mark.parametrize("kind", OTHERS)
def test_models_that_are_not_built_are_named(tmp_path: Path, kind: str, prompts: list[str] | None) -> None:
    """The configuration alone says it: nothing else need be read."""
    OTHERS[kind]().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=rf"is a {kind} model.*supported: align, altclip, blip") as caught:
        xai.load(f"local:{tmp_path}", prompts=prompts)
    assert "xai.load(module, labels=...)" in str(caught.value)
