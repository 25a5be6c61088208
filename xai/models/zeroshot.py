"""CLIP and SigLIP as classifiers whose classes are texts, encoded once at load."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from xai.models.detector import TextSimilarity
from xai.models.hub import complete_from_hub, from_hub

ZERO_SHOT = ("clip", "siglip")
# of transformers' model types, those that compare an image with texts, but in ways that are not built here
OTHER_ZERO_SHOT = frozenset({
    "align", "altclip", "blip", "blip-2", "bridgetower", "chinese_clip", "clipseg", "flava", "groupvit",
    "metaclip_2", "owlv2", "owlvit", "siglip2", "tipsv2", "videoprism", "vision-text-dual-encoder", "xclip",
})  # fmt: skip


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


def build_zero_shot(
    place: str, model_type: str, texts: Sequence[str], trust_remote_code: bool = False
) -> ZeroShot:
    """The zero-shot classifier of a CLIP or SigLIP model, in eval mode; its text tower is not kept.

    Args:
        place: Folder or hub name.
        model_type: One of ZERO_SHOT.
        texts: One per class.
        trust_remote_code: Whether to run code from the model's repository.
    """
    model = complete_from_hub(AutoModel.from_pretrained, place, trust_remote_code=trust_remote_code)
    tokenizer = from_hub(AutoTokenizer.from_pretrained, place, trust_remote_code=trust_remote_code)
    context = model.config.text_config.max_position_embeddings
    tokens = tokenizer(
        list(texts),
        return_tensors="pt",
        truncation=True,
        max_length=context,
        # SigLIP was trained on texts padded to the full context, without a mask, and reads the last token
        padding="max_length" if model_type == "siglip" else True,
        return_attention_mask=model_type != "siglip",
    )
    with torch.no_grad():
        features = model.get_text_features(**tokens).pooler_output
        scale = model.logit_scale.exp()
        bias = getattr(model, "logit_bias", torch.zeros_like(scale))
    head = TextSimilarity(F.normalize(features, dim=-1), scale.detach().squeeze(), bias.detach().squeeze())
    projection = getattr(model, "visual_projection", nn.Identity())
    return ZeroShot(model.vision_model, projection, head).eval()
