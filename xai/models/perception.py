"""The Perception Encoder (Bolya et al. 2025, arXiv 2504.13181) as timm has it, under timm's names.

Its tokens are turned by their place (rotary embedding, on axes x and y) besides an added position; a learned
query pools them by attention.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.models.checkpoint import State
from xai.models.timm_vit import (
    TimmAttention,
    TimmBlock,
    TimmMLP,
    TimmPatchEmbed,
    TimmViTConfig,
    TimmViTOutput,
)
from xai.models.tower import TowerOptions, filled, heads_of, layers_of, patch_of, shape_of, side_of

_EPS = 1e-5  # of every layer norm
_POOL_HEADS = 8
_TEMPERATURE = 10000.0


@dataclass(frozen=True, kw_only=True)
class PerceptionConfig(TimmViTConfig):
    """Sizes of a tower; `image_size` is the one that its positions were made for."""

    model_type: ClassVar[str] = "perception_encoder"

    class_token: bool


class TurnedAttention(TimmAttention):
    """Attention whose queries and keys of patches are turned by their place."""

    def forward(self, tokens: Tensor, angles: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
        """(B, N, width) and (N, d / 2) → (B, N, width)."""
        query, key, value = self.split(tokens)
        return self.joined(turned(query, angles), turned(key, angles), value)


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """(B, heads, N, d): each pair of numbers turned by an angle of (N, d / 2)."""
    even, odd = x[..., ::2], x[..., 1::2]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)


class TurnedBlock(TimmBlock):
    """x + attention(norm(x)), and of that y + MLP(norm(y))."""

    def __init__(self, config: PerceptionConfig):
        super().__init__(config, eps=_EPS)
        self.attn = TurnedAttention(config)

    def forward(self, tokens: Tensor, angles: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
        """(B, N, width) and (N, d / 2) → (B, N, width)."""
        tokens = tokens + self.attn(self.norm1(tokens), angles)
        return tokens + self.mlp(self.norm2(tokens))


class LatentPool(nn.Module):
    """A learned query attends to all tokens; an MLP on what it gets."""

    def __init__(self, config: PerceptionConfig):
        super().__init__()
        width = config.hidden_size
        self.latent = nn.Parameter(torch.zeros(1, 1, width))
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.proj, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=_EPS)
        self.mlp = TimmMLP(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) → (B, width)."""
        query = (
            self.q(self.latent.expand(len(tokens), -1, -1)).unflatten(-1, (_POOL_HEADS, -1)).transpose(1, 2)
        )
        key, value = self.kv(tokens).unflatten(-1, (2, _POOL_HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        pooled = self.proj(mixed)
        return (pooled + self.mlp(self.norm(pooled)))[:, 0]


class PerceptionEncoder(nn.Module):
    """Pixels (B, 3, H, W), of any size in whole patches → tokens, and what the pool makes of them."""

    def __init__(self, config: PerceptionConfig):
        super().__init__()
        width, self.config = config.hidden_size, config
        self.patch_embed = TimmPatchEmbed(config, bias=False)
        self.side = config.image_size // config.patch_size
        if config.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.class_token + self.side**2, width))
        self.norm_pre, self.norm = (nn.LayerNorm(width, eps=_EPS) for _ in range(2))
        self.blocks = nn.ModuleList(TurnedBlock(config) for _ in range(config.num_hidden_layers))
        self.attn_pool = LatentPool(config)

    def forward(self, pixel_values: Tensor) -> TimmViTOutput:
        """The pooled feature is (B, width)."""
        rows, cols = (length // self.config.patch_size for length in pixel_values.shape[-2:])
        tokens = self.patch_embed(pixel_values)
        if self.config.class_token:
            tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = self.norm_pre(tokens + self.positions(rows, cols))
        angles = self.angles(rows, cols)
        for block in self.blocks:
            tokens = block(tokens, angles)
        tokens = self.norm(tokens)
        return TimmViTOutput(tokens, self.attn_pool(tokens))

    def positions(self, rows: int, cols: int) -> Tensor:
        """(1, N, width), added; those of patches are resampled to another grid."""
        if (rows, cols) == (self.side, self.side):
            return self.pos_embed
        first, patches = self.pos_embed.split([int(self.config.class_token), self.side**2], dim=1)
        grid = patches.float().transpose(1, 2).unflatten(2, (self.side, self.side))
        grid = F.interpolate(grid, (rows, cols), mode="bicubic", antialias=True)
        return torch.cat([first, grid.flatten(2).transpose(1, 2).to(first.dtype)], dim=1)

    def angles(self, rows: int, cols: int) -> Tensor:
        """(N, d / 2): by which pairs of numbers are turned, those of x first; the class token's are 0.

        Places are counted from 1 where there is a class token, on the grid that the tower was trained on.
        """
        width = self.config.hidden_size // self.config.num_attention_heads
        device = self.pos_embed.device
        bands = _TEMPERATURE ** -(torch.arange(width // 4, device=device) / (width // 4))
        offset = int(self.config.class_token)
        y, x = ((torch.arange(n, device=device) + offset) / n * self.side for n in (rows, cols))
        places = torch.stack([x.expand(rows, cols), y[:, None].expand(rows, cols)], dim=-1)
        angles = (places[..., None] * bands).flatten(2).flatten(0, 1)
        return F.pad(angles, (0, 0, offset, 0))


def build_perception_encoder(state: State, options: TowerOptions) -> PerceptionEncoder:
    """The tower with these weights, in their type and in eval mode.

    Args:
        state: Named as timm names them; a head that the detector does not read is left out.
        options: What shapes cannot say.

    Raises:
        ModelError: When keys are missing, left over or of the wrong shape.
    """
    width, patch = patch_of(state, "patch_embed.proj.weight")
    class_token = "cls_token" in state
    config = PerceptionConfig(
        hidden_size=width,
        intermediate_size=shape_of(state, "blocks.0.mlp.fc1.weight")[0],
        num_hidden_layers=layers_of(state),
        num_attention_heads=heads_of(width, options),
        image_size=side_of(shape_of(state, "pos_embed", 3)[1] - class_token) * patch,
        patch_size=patch,
        hidden_act=options.hidden_act or "gelu",
        class_token=class_token,
    )
    with torch.device("meta"):  # the memory is that of the weights
        model = PerceptionEncoder(config)
    return filled(model, state, "a Perception Encoder of timm")
