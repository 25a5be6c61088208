"""`xai.load` of timm and open_clip models, from local weights: the same calls that fetch them from a hub."""

from pathlib import Path

import pytest
import torch
import transformers as hf
from PIL import Image

import xai
from xai.attr import CPLRP, AttnLRP, GradientWeightedAttention
from xai.core import ModelError, UsageError

pytestmark = pytest.mark.interop

WHERE = "runs in an environment of its own: make test-interop"
pytest.importorskip("torchvision", reason=WHERE)
timm = pytest.importorskip("timm", reason=WHERE)
open_clip = pytest.importorskip("open_clip", reason=WHERE)


@pytest.fixture
def photo() -> Image.Image:
    generator = torch.Generator().manual_seed(0)
    values = (torch.rand(24, 36, 3, generator=generator) * 255).byte().numpy()
    return Image.fromarray(values).resize((360, 240), Image.Resampling.BICUBIC)


def test_timm_from_a_local_folder(tmp_path: Path, photo: Image.Image) -> None:
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=2).eval()
    save_for_hf(model, tmp_path)
    classifier = xai.load(f"timm:local-dir:{tmp_path}", labels=["real", "fake"])
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    pixels = classifier.preprocess(photo)[None]
    torch.testing.assert_close(pixels[0], transform(photo), atol=1e-5, rtol=0)
    torch.testing.assert_close(classifier(pixels), model(pixels))
    assert GradientWeightedAttention(classifier).attribute_patches(pixels, 1).shape == (1, 14, 14)
    with pytest.raises(UsageError):
        xai.load(f"timm:local-dir:{tmp_path}", labels=["only one"])
    with pytest.raises(ModelError, match="timm:local-dir:DIR"):
        xai.load(f"local:{tmp_path}", labels=["real", "fake"])


def test_open_clip_from_a_local_checkpoint(tmp_path: Path, photo: Image.Image) -> None:
    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms("ViT-S-32-alt", pretrained=None)
    checkpoint = tmp_path / "weights.pt"
    torch.save(model.eval().state_dict(), checkpoint)
    texts = ["a photo of a real face", "a photo of a fake face"]
    classifier = xai.load(f"open_clip:ViT-S-32-alt/{checkpoint}", labels=["real", "fake"], prompts=texts)
    pixels = classifier.preprocess(photo)[None]
    torch.testing.assert_close(pixels[0], transform(photo), atol=1e-5, rtol=0)
    with torch.no_grad():
        image, text, scale = model(pixels, open_clip.get_tokenizer("ViT-S-32-alt")(texts))[:3]
    torch.testing.assert_close(classifier(pixels), scale * image @ text.T, atol=1e-4, rtol=1e-4)
    maps = GradientWeightedAttention(classifier, clamp=None).attribute_targets(pixels, [0, 1])
    assert maps.shape == (2, 1, 7, 7)
    assert not torch.equal(maps[0], maps[1])


def test_open_clip_models_that_return_tokens_beside_the_feature(tmp_path: Path, photo: Image.Image) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model("coca_ViT-B-32", pretrained=None).eval()
    checkpoint = tmp_path / "weights.pt"
    torch.save(model.state_dict(), checkpoint)
    texts = ["a real face", "a fake face"]
    classifier = xai.load(f"open_clip:coca_ViT-B-32/{checkpoint}", prompts=texts)
    pixels = classifier.preprocess(photo)[None]
    with torch.no_grad():
        image = model.encode_image(pixels, normalize=True)
        text = model.encode_text(open_clip.get_tokenizer("coca_ViT-B-32")(texts), normalize=True)
    expected = model.logit_scale.exp() * image @ text.T
    torch.testing.assert_close(classifier(pixels), expected, atol=1e-4, rtol=1e-4)
    assert torch.isfinite(AttnLRP(classifier).attribute_patches(pixels, 1)).all()


def test_timm_wrapper_folder(tmp_path: Path, photo: Image.Image) -> None:
    torch.manual_seed(0)
    prepared = timm.create_model("vit_tiny_patch16_224", pretrained=False).pretrained_cfg
    config = hf.TimmWrapperConfig(
        architecture="vit_tiny_patch16_224", num_labels=2, model_args={"depth": 2}, pretrained_cfg=prepared
    )
    model = hf.TimmWrapperForImageClassification(config).eval()
    model.save_pretrained(tmp_path)
    classifier = xai.load(f"local:{tmp_path}")
    processor = hf.AutoImageProcessor.from_pretrained(tmp_path)
    expected = processor(photo, return_tensors="pt")["pixel_values"]
    pixels = classifier.preprocess(photo)[None]
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(classifier(pixels), model(expected).logits, atol=1e-4, rtol=1e-4)


def test_without_biases_cp_lrp_of_a_naflex_vit_sums_to_the_score() -> None:
    """It adds positions to the patch embedding in place, which is the output of a rule."""
    torch.manual_seed(0)
    small = {"num_classes": 3, "embed_dim": 48, "depth": 2, "num_heads": 4}
    model = timm.create_model("naflexvit_base_patch16_gap", pretrained=False, **small).eval().double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "norm" in name and name.endswith("weight"):
                continue
            torch.nn.init.normal_(
                parameter, std=0.0 if "bias" in name or "pos" in name or "reg" in name else 0.1
            )
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)).double()
    got = CPLRP(model).attribute_patches(x, 1)
    torch.testing.assert_close(got.sum(), model(x)[0, 1].detach(), rtol=1e-4, atol=1e-6)
