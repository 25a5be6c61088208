"""CLIP and SigLIP as classifiers whose classes are texts, encoded once at load."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from xai.models.detector import TextSimilarity
from xai.models.hub import complete_from_hub, from_hub

# how each was trained to read texts: SigLIP pools the last token, so its texts must fill the context
ZERO_SHOT: dict[str, dict[str, Any]] = {
    "clip": {"padding": True, "truncation": True},
    "siglip": {"padding": "max_length", "truncation": True},
    "siglip2": {"padding": "max_length", "truncation": True, "max_length": 64},
}


class ZeroShot(nn.Module):
    """Image tower, projection if there is one, cosine with each text: scale · cosine (+ bias).

    Args:
        vision: Image tower with a `pooler_output`.
        projection: From its width to the texts'; identity for SigLIP.
        head: The texts.
    """

    def __init__(self, vision: nn.Module, projection: nn.Module, head: TextSimilarity):
        super().__init__()
        self.vision = vision
        self.projection = projection
        self.head = head

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, texts)."""
        return self.head(self.projection(self.vision(pixel_values=pixels).pooler_output))


def build_zero_shot(place: str, model_type: str, texts: Sequence[str]) -> ZeroShot:
    """The zero-shot classifier of a CLIP or SigLIP model, in eval mode; its text tower is not kept.

    Args:
        place: Folder or hub name.
        model_type: Key of ZERO_SHOT.
        texts: One per class.
    """
    model = complete_from_hub(AutoModel.from_pretrained, place)
    tokenizer = from_hub(AutoTokenizer.from_pretrained, place)
    tokens = tokenizer(list(texts), return_tensors="pt", **ZERO_SHOT[model_type])
    with torch.no_grad():
        features = model.get_text_features(**tokens).pooler_output
        scale = model.logit_scale.exp()
        bias = getattr(model, "logit_bias", torch.zeros_like(scale))
    head = TextSimilarity(F.normalize(features, dim=-1), scale.detach().squeeze(), bias.detach().squeeze())
    projection = getattr(model, "visual_projection", nn.Identity())
    return ZeroShot(model.vision_model, projection, head).eval()
