"""Maps laid over one canonical face: each is turned, scaled and moved as its five points say."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from xai.data.affine import similarity
from xai.faces.align import SIZE, places

FACE = (places(SIZE) + 0.5) / SIZE
"""(5, 2) x and y of the points of `xai.core.Face` in the canonical frame, in shares of its side: that of
DeepfakeBench's aligned crops, which lie in it as they are."""


def to_input(points: Sequence[np.ndarray], aspect: float = 1.0) -> np.ndarray:
    """Of each face the similarity that takes the canonical frame to the input, by least squares.

    Args:
        points: Of each face (5, 2), in shares of the input's width and height.
        aspect: Width of the input over its height.

    Returns:
        (B, 2, 3) float64: canonical (x, y) lies at `matrix @ (x, y, 1)` in shares of width and height.
    """
    square = np.array([aspect, 1.0])
    return np.stack([similarity(FACE, one * square) / square[:, None] for one in points])


def in_frame(maps: Tensor, matrices: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    """Maps as they lie over the canonical frame: bilinear between patch centres, 0 outside of the input.

    Args:
        maps: (methods, B, rows, cols) relevance of the patches of the input.
        matrices: (B, 2, 3) from `to_input`.
        size: Side of the frame in cells.

    Returns:
        (methods, B, size, size) float32; (B,) share of the frame that lies outside of the input.
    """
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    frame = torch.stack([x, y, torch.ones_like(x)], -1)  # (size, size, 3)
    places = torch.einsum("bij,yxj->byxi", torch.from_numpy(matrices), frame)  # in shares of the input
    inside = ((places >= 0) & (places <= 1)).all(-1)
    # a patch at the border reaches half a patch beyond its centre; beyond the border there is none
    values = grid_sample(
        maps.double().transpose(0, 1), 2 * places - 1, padding_mode="border", align_corners=False
    )
    aligned = (values * inside[:, None]).transpose(0, 1)
    return aligned.float(), 1 - inside.double().flatten(1).mean(1)
