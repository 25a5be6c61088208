"""Where patch tokens stand in a model: patch size and special tokens, read from the model itself."""

import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from xai.core import ModelError, PatchGrid
from xai.core.grid import SAY_GRID

# learned tokens that stand before the patches, by the names model libraries give them
_SINGLE = re.compile(r"(^|\.)(cls_token|class_token|class_embedding|dist_token|distillation_token)$")
_REGISTERS = re.compile(r"(^|\.)(register_tokens?|reg_token)$")


@dataclass(frozen=True)
class TokenLayout:
    """How an input becomes tokens.

    Args:
        patch_size: (height, width) of a patch in input pixels.
        prefix: Special tokens before the first patch.
    """

    patch_size: tuple[int, int]
    prefix: int

    def grid(self, height: int, width: int) -> PatchGrid:
        """The patch grid of an input of this size in pixels."""
        rows, cols = height // self.patch_size[0], width // self.patch_size[1]
        if rows < 1 or cols < 1:
            raise ModelError(
                f"An input of {height}×{width} pixels is smaller than a patch {self.patch_size}."
            )
        return check_grid(PatchGrid(rows, cols, self.prefix), height, width)


def find_layout(model: nn.Module) -> TokenLayout:
    """Read patch size and prefix tokens from a model's configuration and parameters.

    What is found is checked against the recorded token count whenever attention is recorded.

    Raises:
        ModelError: When the model does not say its patch size.
    """
    patch = next((size for m in model.modules() if (size := _patch_size(m)) is not None), None)
    if patch is None:
        raise ModelError(
            f"{type(model).__name__} does not say its patch size.",
            f"Say a grid: {SAY_GRID}.",
        )
    return TokenLayout(patch, prefix_tokens(model))


def grid_of(model: nn.Module, pixels: Tensor) -> PatchGrid:
    """The patch grid of an input (B, 3, H, W): the classifier's own if it is for this size, else as found."""
    size, height, width = getattr(model, "input_size", None), *pixels.shape[-2:]
    if size is None or tuple(size) == (height, width):
        try:
            grid = getattr(model, "grid", None)
        except ModelError:  # it knows no standard size; this input's size may do
            grid = None
        if isinstance(grid, PatchGrid):
            return check_grid(grid, height, width)
    return find_layout(model).grid(height, width)


def check_grid(grid: PatchGrid, height: int, width: int) -> PatchGrid:
    """The grid, where its cells are of four pixels at least.

    Raises:
        ModelError: They are smaller: the grid is no patch grid, and every cell would cost a pass.
    """
    if 4 * grid.patches > height * width or grid.rows > height or grid.cols > width:
        raise ModelError(
            f"A grid of {grid.rows}×{grid.cols} = {grid.patches} cells is too fine for {height}×{width} "
            f"pixels: a cell has {height * width / grid.patches:.3g} of them, 4 are the least.",
            f"Say a coarser grid: {SAY_GRID}.",
        )
    return grid


def _patch_size(module: nn.Module) -> tuple[int, int] | None:
    config = getattr(module, "config", None)
    config = getattr(config, "vision_config", config)
    size = getattr(config, "patch_size", None)
    if size is None:  # timm, open_clip and torchvision keep it on the module
        size = getattr(module, "patch_size", None)
    return _pair(size)


def _pair(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(s, int) for s in size):
        return size[0], size[1]
    return None


def prefix_tokens(model: nn.Module) -> int:
    """Special tokens before the first patch, by the names that model libraries give their parameters."""
    declared = next(
        (n for m in model.modules() if isinstance(n := getattr(m, "num_prefix_tokens", None), int)), None
    )
    if declared is not None:  # timm
        return declared
    tokens = 0
    for name, parameter in model.named_parameters():
        if _SINGLE.search(name):
            tokens += 1
        elif _REGISTERS.search(name):
            tokens += parameter.shape[-2]
    return tokens
