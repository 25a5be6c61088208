"""Maps as metrics take them: checked, and as relevance per patch or pixel of a protocol."""

import torch
import torch.nn.functional as F
from torch import Tensor

from xai.core import UsageError

Size = tuple[int, int]


def check_relevance(relevance: Tensor, images: int, grid: Size, pixels: Size) -> None:
    """Refuse maps (M, B, rows, cols) that do not belong to the images, or hold NaN or infinity.

    Raises:
        UsageError: Naming what was given and what fits.
    """
    if not isinstance(relevance, Tensor) or not relevance.is_floating_point():
        kind = relevance.dtype if isinstance(relevance, Tensor) else type(relevance).__name__
        raise UsageError(f"Relevance must be a floating-point tensor; got {kind}.")
    shape = tuple(relevance.shape)
    if len(shape) != 4 or shape[0] < 1 or shape[1] != images or shape[2:] not in (grid, pixels):
        raise UsageError(
            f"Relevance of {images} images must be (methods, {images}, {grid[0]}, {grid[1]}) on patches or "
            f"(methods, {images}, {pixels[0]}, {pixels[1]}) on pixels; got {shape}.",
            "Sum or average channels first; one method may leave out the first axis in single metrics.",
        )
    wrong = ~relevance.isfinite().flatten(2).all(-1)
    if wrong.any():
        method, image = wrong.nonzero()[0].tolist()
        raise UsageError(
            f"The relevance of image {image} (method {method}) holds NaN or infinite values.",
            "A map without an order cannot be tested; look at the method that made it.",
        )


def exact(relevance: Tensor) -> Tensor:
    """Relevance of any shape, detached, in float64 on the CPU.

    Raises:
        UsageError: It holds NaN or infinity.
    """
    if not torch.isfinite(relevance).all():
        raise UsageError("The relevance holds NaN or infinite values.", "Look at the method that made it.")
    return relevance.detach().to("cpu", torch.float64)


def exact_maps(relevance: Tensor) -> Tensor:
    """Maps (B, rows, cols), as `exact` gives them.

    Raises:
        UsageError: They are of another shape, or hold NaN or infinity.
    """
    if relevance.dim() != 3:
        raise UsageError(f"Relevance must be (B, rows, cols); got {tuple(relevance.shape)}.")
    return exact(relevance)


def apply_sign(relevance: Tensor, sign: str) -> Tensor:
    """What of the relevance orders the units: "signed", "absolute" or "positive"."""
    if sign == "absolute":
        return relevance.abs()
    return relevance.clamp_min(0) if sign == "positive" else relevance


def to_patches(relevance: Tensor, grid: Size) -> Tensor:
    """(..., H, W) → (..., rows, cols): the mean of the pixels of each patch. Patch maps stay as they are."""
    height, width = relevance.shape[-2:]
    if (height, width) == grid:
        return relevance
    rows, cols = grid
    if height % rows == 0 and width % cols == 0:
        blocks = relevance.unflatten(-1, (cols, width // cols)).unflatten(-3, (rows, height // rows))
        return blocks.mean(dim=(-3, -1))
    row = torch.arange(height, device=relevance.device) * rows // height
    col = torch.arange(width, device=relevance.device) * cols // width
    down = F.one_hot(row, rows).to(relevance.dtype) / torch.bincount(row, minlength=rows)
    across = F.one_hot(col, cols).to(relevance.dtype) / torch.bincount(col, minlength=cols)
    return down.T @ relevance @ across


def to_pixels(relevance: Tensor, size: Size, upsampling: str) -> Tensor:
    """(..., rows, cols) → (..., H, W), "nearest" or "bilinear". Pixel maps stay as they are."""
    rows, cols = relevance.shape[-2:]
    if (rows, cols) == size:
        return relevance
    if upsampling == "bilinear":
        flat = relevance.reshape(-1, 1, rows, cols)
        return F.interpolate(flat, size, mode="bilinear", align_corners=False).reshape(
            *relevance.shape[:-2], *size
        )
    row = torch.arange(size[0], device=relevance.device) * rows // size[0]
    col = torch.arange(size[1], device=relevance.device) * cols // size[1]
    return relevance[..., row, :][..., col]
