"""A detector as people publish them: a vision tower, one feature of it, a head."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn


class Detector(nn.Module):
    """Tower → feature → head.

    Args:
        tower: A transformers vision model.
        head: Feature (B, d) → logits (B, classes).
        feature: "pooled" (`pooler_output`), "cls" (first token of the last hidden state) or "projected"
            (`image_embeds`).
        normalize: Whether the head reads the feature at unit L2 length.
    """

    def __init__(
        self,
        tower: nn.Module,
        head: nn.Module,
        feature: Literal["pooled", "cls", "projected"],
        *,
        normalize: bool = False,
    ):
        super().__init__()
        self.tower = tower
        self.head = head
        self.feature = feature
        self.normalize = normalize

    @property
    def classes(self) -> int:
        """How many logits it answers with."""
        last = [m for m in self.head.modules() if isinstance(m, nn.Linear | TextSimilarity)][-1]
        return last.out_features if isinstance(last, nn.Linear) else len(last.texts)

    def extra_repr(self) -> str:
        """What the parts do not show."""
        return f"feature={self.feature}, normalize={self.normalize}"

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, classes)."""
        output = self.tower(pixel_values=pixels)
        if self.feature == "cls":
            feature = output.last_hidden_state[:, 0]
        else:
            feature = output.pooler_output if self.feature == "pooled" else output.image_embeds
        return self.head(F.normalize(feature, dim=-1) if self.normalize else feature)


class TextSimilarity(nn.Module):
    """Head whose classes are texts: cosine between the image's feature and each text's, scaled and shifted.

    Args:
        texts: (classes, d) text features of unit length.
        scale: Factor of the cosine.
        bias: Added to it.
    """

    texts: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, texts: Tensor, scale: Tensor, bias: Tensor):
        super().__init__()
        self.register_buffer("texts", texts)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, d) → (B, classes)."""
        return F.normalize(feature, dim=-1) @ self.texts.T * self.scale + self.bias
