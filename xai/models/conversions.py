"""Models of transformers' that read or answer in a form of their own, as pixels in and logits out."""

from typing import Any

import torch
from torch import Tensor, nn


class FromPatches(nn.Module):
    """What reads patches in a row and the shape of their grid (NaFlex), given the image that they tile.

    The images of a batch have one size, so none is padded and there is no mask.

    Args:
        module: Called with `pixel_values` (B, patches, patch · patch · 3), `spatial_shapes` (B, 2: rows,
            columns) and `pixel_attention_mask`.
        patch: Side of a patch, pixels.
    """

    def __init__(self, module: nn.Module, patch: int):
        super().__init__()
        self.module = module
        self.patch = patch

    def extra_repr(self) -> str:
        """What the parts do not show."""
        return f"patch={self.patch}"

    def forward(self, pixel_values: Tensor) -> Any:
        """(B, 3, H, W), H and W multiples of a patch → what the module returns."""
        side = self.patch
        rows, cols = (length // side for length in pixel_values.shape[-2:])
        tiles = pixel_values.unflatten(3, (cols, side)).unflatten(2, (rows, side))  # b c rows y cols x
        patches = tiles.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        shapes = torch.tensor([[rows, cols]], device=pixel_values.device).expand(len(pixel_values), 2)
        return self.module(pixel_values=patches, pixel_attention_mask=None, spatial_shapes=shapes)


class FromColours(nn.Module):
    """What reads the number of each pixel's colour (ImageGPT), given pixels: each takes the nearest colour.

    No gradient flows to the pixels.

    Args:
        module: Called with `input_ids` (B, H · W).
        colours: (colours, 3), as pixels are normalised.
    """

    colours: Tensor

    def __init__(self, module: nn.Module, colours: Tensor):
        super().__init__()
        self.module = module
        self.register_buffer("colours", colours)

    def forward(self, pixels: Tensor) -> Any:
        """(B, 3, H, W) → what the module returns."""
        each = pixels.detach().flatten(2).transpose(1, 2)[:, :, None]
        return self.module(input_ids=(each - self.colours).square().sum(-1).argmin(-1))


class StateAsLogits(nn.Module):
    """What returns its logits as `last_hidden_state`, as PP-LCNet of transformers does.

    Args:
        module: Called with `pixel_values`.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, classes)."""
        return self.module(pixel_values=pixels).last_hidden_state
