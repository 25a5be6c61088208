"""RINE (Koutlis and Papadopoulos, ECCV 2024, arXiv 2402.19091): the class token of every CLIP layer is read.

Each layer's class token, as its MLP reads it, is projected; a softmax over the layers, one for each feature,
weights them; the sum is projected again and classified.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from xai.core import ModelError
from xai.models.checkpoint import State
from xai.models.clip import CLIPEncoderLayer, CLIPVisionConfig, CLIPVisionModel
from xai.models.detector import build_head

_BROKEN = "Name the tower that it was trained on (CLIP ViT-L/14 in what was published)."


class EveryLayerOutput(NamedTuple):
    """All tokens (B, 1 + patches, width) after the last layer, and the class tokens (B, layers, width)."""

    last_hidden_state: Tensor
    pooler_output: Tensor


class ReadLayer(CLIPEncoderLayer):
    """A layer of which the class token is read where its MLP reads it."""

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:  # pyrefly: ignore[bad-override]
        """(B, N, width) → the same shape, and (B, width)."""
        tokens = tokens + self.self_attn(self.layer_norm1(tokens))
        middle = self.layer_norm2(tokens)
        return tokens + self.mlp(middle), middle[:, 0]


class EveryLayerCLIP(CLIPVisionModel):
    """A CLIP tower, read in every layer; its last norm is not."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__(config)
        self.encoder.layers = nn.ModuleList(ReadLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, pixel_values: Tensor) -> EveryLayerOutput:  # pyrefly: ignore[bad-override]
        """Raises: ValueError: The image has another size than the tower was trained at."""
        tokens = self.pre_layrnorm(self.embeddings(pixel_values))
        read = []
        for layer in self.encoder.layers:
            tokens, token = layer(tokens)
            read.append(token)
        return EveryLayerOutput(tokens, torch.stack(read, dim=1))


class LayersHead(nn.Module):
    """Class tokens of all layers (B, layers, width) → logits.

    Args:
        alpha: (1, layers, p) weights of the layers, before their softmax.
        proj1: Linear layers with ReLU between them, width → p.
        proj2: The same, p → p.
        head: The same, p → logits.
    """

    def __init__(self, alpha: Tensor, proj1: nn.Module, proj2: nn.Module, head: nn.Module):
        super().__init__()
        self.alpha = nn.Parameter(alpha)
        self.proj1, self.proj2, self.head = proj1, proj2, head
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, layers, width) → (B, classes)."""
        projected = self.act1(self.proj1(tokens))
        summed = (self.alpha.softmax(dim=1) * projected).sum(dim=1)
        return self.head(self.act2(self.proj2(summed)))


def build_layers_head(
    alpha: State, proj1: State, proj2: State, head: State, layers: int, width: int
) -> nn.Module:
    """RINE's head, in eval mode.

    Args:
        alpha: The weights of the layers under their only key.
        proj1: Names without their own prefix; so the next two.
        proj2: As `proj1`.
        head: As `proj1`.
        layers: Of the tower.
        width: Of its tokens.

    Raises:
        ModelError: When the head was made for another tower, or its parts do not fit each other.
    """
    weights = next(iter(alpha.values()))
    if len(alpha) != 1 or weights.ndim != 3 or len(weights) != 1 or weights.shape[1] != layers:
        shapes = ", ".join(f"alpha{key} {tuple(value.shape)}" for key, value in sorted(alpha.items())[:5])
        raise ModelError(f"The head weights the layers by {shapes}; the tower has {layers} of them.", _BROKEN)
    size = weights.shape[2]
    first, second = build_head(proj1, width, "relu"), build_head(proj2, size, "relu")
    made = {_outputs(first), _outputs(second)}
    if made != {size}:
        raise ModelError(
            f"The head weights {size} features of each layer, but its projections make "
            f"{', '.join(map(str, sorted(made)))}.",
            "The checkpoint is broken; use another one.",
        )
    return LayersHead(weights, first, second, build_head(head, size, "relu")).eval()


def _outputs(projection: nn.Module) -> int:
    return [module for module in projection.modules() if isinstance(module, nn.Linear)][-1].out_features
