"""Every architecture of the list through `xai.load`: the logits are those of the library itself."""

from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES, Architecture
from architectures.architecture import LABELS
from torch import Tensor, nn

from xai.models.processor import read_colours

pytestmark = pytest.mark.interop

WHERE = "runs in an environment of its own: make test-interop"
pytest.importorskip("torchvision", reason=WHERE)
pytest.importorskip("timm", reason=WHERE)
open_clip = pytest.importorskip("open_clip", reason=WHERE)


def own_logits(one: Architecture, model: Any, pixels: Tensor, folder: Path) -> Tensor:
    """Of the library itself, called as its documentation shows it."""
    if one.library == "open_clip":
        image = model.encode_image(pixels, normalize=True)
        words = open_clip.get_tokenizer(f"local-dir:{folder}")(list(LABELS))
        bias = getattr(model, "logit_bias", None)
        similarity = model.logit_scale.exp() * image @ model.encode_text(words, normalize=True).T
        return similarity if bias is None else similarity + bias
    if one.name == "huggingface/imagegpt":
        colours = read_colours(str(folder))
        nearest = torch.cdist(pixels.flatten(2).transpose(1, 2), colours).argmin(-1)
        return model(input_ids=nearest).logits
    if one.name == "huggingface/siglip2":
        rows = cols = one.size // 8
        patches = nn.functional.unfold(pixels, 8, stride=8).transpose(1, 2)  # channels first within a patch
        patches = patches.unflatten(2, (3, 64)).transpose(2, 3).flatten(2)
        mask, shape = torch.ones(len(pixels), rows * cols), torch.tensor([[rows, cols]] * len(pixels))
        return model(pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=shape).logits
    output = model(pixels)
    if one.name == "huggingface/pp_lcnet":
        return output.last_hidden_state
    return getattr(output, "logits", output)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_are_the_librarys_own(tmp_path: Path, name: str) -> None:
    one = ARCHITECTURES[name]
    classifier = one.load(tmp_path)
    assert classifier.labels == LABELS
    x = one.pixels(3)
    with torch.no_grad():
        got = classifier(x)
        expected = own_logits(one, one.build(), x, tmp_path)
    scale = float(expected.abs().max())
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * scale)
    assert float((got[0] - got[1]).abs().max()) > 1e-3 * scale  # the image has a part in the answer


def test_the_list_is_whole() -> None:
    counts = dict.fromkeys(("huggingface", "timm", "open_clip", "torchvision"), 0)
    for one in ARCHITECTURES.values():
        counts[one.library] += 1
    assert counts == {"huggingface": 40, "timm": 60, "open_clip": 16, "torchvision": 6}
