"""`xai.load` of timm and open_clip models, from local weights: the same calls that fetch them from a hub."""

from pathlib import Path

import pytest
import torch
from PIL import Image

import xai
from xai.attr import GradientWeightedAttention
from xai.core import UsageError

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
