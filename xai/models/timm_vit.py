"""The plain vision transformer of timm (Dosovitskiy et al. 2021, arXiv 2010.11929), under timm's names."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.models.checkpoint import State
from xai.models.tower import (
    TowerOptions,
    activation,
    filled,
    heads_of,
    layers_of,
    patch_of,
    shape_of,
    side_of,
)

_EPS = 1e-6  # of every layer norm


@dataclass(frozen=True, kw_only=True)
class TimmViTConfig:
    """Sizes of a tower, by the names of transformers."""

    model_type: ClassVar[str] = "timm_vit"

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    hidden_act: str = "gelu"

    def to_dict(self) -> dict[str, Any]:
        """A part of the fingerprint."""
        return {"model_type": self.model_type, **asdict(self)}


class TimmViTOutput(NamedTuple):
    """All tokens (B, 1 + patches, width) after the last norm, and what a head reads of them."""

    last_hidden_state: Tensor
    pooler_output: Tensor


class TimmPatchEmbed(nn.Module):
    """One token per patch."""

    def __init__(self, config: TimmViTConfig, *, bias: bool = True):
        super().__init__()
        patch = config.patch_size
        self.proj = nn.Conv2d(3, config.hidden_size, patch, patch, bias=bias)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, patches, width)."""
        return self.proj(pixels).flatten(2).transpose(1, 2)


class TimmAttention(nn.Module):
    """Fused attention of several heads, one Linear for query, key and value."""

    def __init__(self, config: TimmViTConfig):
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def split(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """(B, N, width) → query, key and value (B, heads, N, d)."""
        return self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def joined(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, N, width)."""
        output = F.scaled_dot_product_attention(query, key, value)
        return self.proj(output.transpose(1, 2).flatten(2))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width), the same shape out."""
        return self.joined(*self.split(tokens))


class TimmMLP(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, config: TimmViTConfig):
        super().__init__()
        self.act = activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width), the same shape out."""
        return self.fc2(self.act(self.fc1(tokens)))


class TimmBlock(nn.Module):
    """x + attention(norm(x)), and of that y + MLP(norm(y))."""

    def __init__(self, config: TimmViTConfig, eps: float = _EPS):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(config.hidden_size, eps=eps) for _ in range(2))
        self.attn, self.mlp = TimmAttention(config), TimmMLP(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width), the same shape out."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class TimmViT(nn.Module):
    """Pixels (B, 3, H, W) → tokens: a class token and patches, blocks, a norm."""

    def __init__(self, config: TimmViTConfig):
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.patch_embed = TimmPatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        patches = (config.image_size // config.patch_size) ** 2
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + patches, width))
        self.blocks = nn.ModuleList(TimmBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(width, eps=_EPS)

    def embedded(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 1 + patches, width), each with its position.

        Raises:
            ValueError: The image has another size than the tower was trained at.
        """
        side = self.config.image_size
        if pixels.shape[-2:] != (side, side):
            height, width = pixels.shape[-2:]
            raise ValueError(f"{height}×{width} pixels; {side}×{side} are expected.")
        classes = self.cls_token.expand(len(pixels), -1, -1)
        return torch.cat([classes, self.patch_embed(pixels)], dim=1) + self.pos_embed

    def forward(self, pixel_values: Tensor) -> TimmViTOutput:
        """The head reads the class token."""
        tokens = self.embedded(pixel_values)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return TimmViTOutput(tokens, tokens[:, 0])


def build_timm_vit(state: State, options: TowerOptions, kind: type[TimmViT] = TimmViT) -> TimmViT:
    """The tower with these weights, in their type and in eval mode.

    Args:
        state: Named as timm names them.
        options: What shapes cannot say.
        kind: A class of the same weights.

    Raises:
        ModelError: When keys are missing, left over or of the wrong shape.
    """
    width, patch = patch_of(state, "patch_embed.proj.weight")
    config = TimmViTConfig(
        hidden_size=width,
        intermediate_size=shape_of(state, "blocks.0.mlp.fc1.weight")[0],
        num_hidden_layers=layers_of(state),
        num_attention_heads=heads_of(width, options),
        image_size=side_of(shape_of(state, "pos_embed", 3)[1] - 1) * patch,
        patch_size=patch,
        hidden_act=options.hidden_act or "gelu",
    )
    with torch.device("meta"):  # the memory is that of the weights
        model = kind(config)
    return filled(model, state, "a vision transformer of timm")
