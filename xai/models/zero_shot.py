"""Classifiers whose classes are texts, of transformers' models that compare an image with a text."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, BlipForImageTextRetrieval

from xai.models.conversions import FromPatches
from xai.models.detector import TextSimilarity
from xai.models.pretrained import complete_from_hub, from_hub

ZERO_SHOT = (
    "align", "altclip", "blip", "chinese_clip", "clip", "clipseg", "groupvit", "metaclip_2", "siglip",
    "siglip2", "vision-text-dual-encoder",
)  # fmt: skip
"""Model types that are built here, by the names of transformers."""
OTHER_ZERO_SHOT = frozenset({
    "blip-2", "bridgetower", "flava", "owlv2", "owlvit", "tipsv2", "videoprism", "xclip",
})  # fmt: skip
"""Those that compare images with texts in other ways."""
SIGMOID = ("siglip", "siglip2")
"""Trained with a sigmoid for every text, so that their labels are independent."""
_MATCHING = "BlipForImageTextRetrieval"


class ZeroShot(nn.Module):
    """Image tower, projection if there is one, cosine with each text: scale · cosine (+ bias).

    Args:
        vision: Image tower with a `pooler_output`.
        projection: From its width to the texts'; identity where the tower's is theirs.
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


class Matching(nn.Module):
    """Each text reads the image through cross-attention and says whether they match (BLIP's matching head).

    A text's logit is that of a match less that of none, so that its sigmoid is the probability of a match.

    Args:
        vision: Image tower with a `last_hidden_state`.
        reader: Text encoder that attends to it.
        head: From the state of the text's first token to (no match, match).
        ids: (texts, L) tokens.
        mask: (texts, L) 1 where a token stands.
    """

    ids: Tensor
    mask: Tensor

    def __init__(self, vision: nn.Module, reader: nn.Module, head: nn.Module, ids: Tensor, mask: Tensor):
        super().__init__()
        self.vision = vision
        self.reader = reader
        self.head = head
        self.register_buffer("ids", ids)
        self.register_buffer("mask", mask)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, texts)."""
        image = self.vision(pixel_values=pixels).last_hidden_state
        images, texts = len(image), len(self.ids)
        image = image.repeat_interleave(texts, dim=0)
        read = self.reader(
            input_ids=self.ids.repeat(images, 1),
            attention_mask=self.mask.repeat(images, 1),
            encoder_hidden_states=image,
            encoder_attention_mask=self.mask.new_ones(image.shape[:2]),
        ).last_hidden_state
        no_match, match = self.head(read[:, 0]).unbind(-1)
        return (match - no_match).view(images, texts)


def matches(config: Any) -> bool:
    """Whether a configuration is that of a model with a matching head."""
    return _MATCHING in (config.architectures or ())


def build_zero_shot(
    place: str, config: Any, texts: Sequence[str], trust_remote_code: bool = False
) -> ZeroShot | Matching:
    """The zero-shot classifier of a model, in eval mode.

    Dual encoders read the texts once, here; their text tower is not kept. A matching head reads them with
    each image.

    Args:
        place: Folder or hub name.
        config: Its configuration, of a model type in ZERO_SHOT.
        texts: One per class.
        trust_remote_code: Whether to run code from the model's repository.
    """
    kind = BlipForImageTextRetrieval if matches(config) else AutoModel
    model = complete_from_hub(kind.from_pretrained, place, trust_remote_code=trust_remote_code)
    tokenizer = from_hub(AutoTokenizer.from_pretrained, place, trust_remote_code=trust_remote_code)
    independent = config.model_type in SIGMOID
    tokens = tokenizer(
        list(texts),
        return_tensors="pt",
        truncation=True,
        max_length=min(model.config.text_config.max_position_embeddings, tokenizer.model_max_length),
        # trained on texts padded to the full context, without a mask, and reads the last token
        padding="max_length" if independent else True,
        return_attention_mask=not independent,
    )
    if matches(config):
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        return Matching(model.vision_model, model.text_encoder, model.itm_head, ids, mask).eval()
    with torch.no_grad():
        features = model.get_text_features(**tokens).pooler_output
        # ALIGN divides by a temperature, the others learn the logarithm of a factor
        scale = model.logit_scale.exp() if hasattr(model, "logit_scale") else 1 / model.temperature
        bias = getattr(model, "logit_bias", torch.zeros_like(scale))
    head = TextSimilarity(F.normalize(features, dim=-1), scale.detach().squeeze(), bias.detach().squeeze())
    vision = model.vision_model
    if config.model_type == "siglip2":
        vision = FromPatches(vision, config.vision_config.patch_size)
    return ZeroShot(vision, getattr(model, "visual_projection", nn.Identity()), head).eval()
