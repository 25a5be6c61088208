"""Where patch tokens stand: the only place that knows how a token row becomes a patch grid."""

import re
from dataclasses import dataclass
from typing import Any, TypeVar

from xai.core.errors import ModelError, UsageError

# how a grid is said, wherever a model is named
SAY_GRID = (
    "--grid 14x14+1 (rows x columns + tokens before them) on the command line, the same after grid: in a "
    "YAML file, grid=PatchGrid(14, 14, 1) in xai.load"
)

GRID_PATTERN = r"^\d{1,5}x\d{1,5}(\+\d{1,5})?$"
Array = TypeVar("Array", bound=Any)  # numpy array or torch tensor: both slice and reshape alike


@dataclass(frozen=True)
class PatchGrid:
    """The patch tokens of a vision transformer: `prefix` special tokens, then rows × cols patches.

    Args:
        rows: Patches from top to bottom.
        cols: Patches from left to right.
        prefix: Tokens before the first patch (class token, distillation token, registers).
    """

    rows: int
    cols: int
    prefix: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1 or self.prefix < 0:
            raise ModelError(f"A patch grid needs rows, cols ≥ 1 and prefix ≥ 0; got {self}.")

    @property
    def patches(self) -> int:
        """Number of patch tokens."""
        return self.rows * self.cols

    @property
    def tokens(self) -> int:
        """Number of all tokens, prefix included."""
        return self.prefix + self.patches

    def to_patches(self, tokens: Array) -> Array:
        """Drop the prefix and fold the last axis: (..., tokens) → (..., rows, cols)."""
        if tokens.shape[-1] != self.tokens:
            raise ModelError(
                f"The grid has {self.prefix} + {self.rows}×{self.cols} = {self.tokens} tokens, "
                f"the model has {tokens.shape[-1]}.",
                f"Say a grid that fits the model: {SAY_GRID}.",
            )
        return tokens[..., self.prefix :].reshape(*tokens.shape[:-1], self.rows, self.cols)


def parse_grid(text: str) -> PatchGrid | tuple[int, int]:
    """Read "14x14" as (14, 14) and "14x14+1", with one token before the patches, as a PatchGrid.

    Raises:
        UsageError: It is neither.
    """
    found = re.fullmatch(r"\s*(\d{1,5})\s*[x×]\s*(\d{1,5})\s*(?:\+\s*(\d{1,5})\s*)?", text)
    if found is None or 0 in map(int, found.groups()[:2]):
        raise UsageError(
            f"{text!r} is no patch grid.",
            "Write rows x columns, such as 14x14, and the tokens before the patches after a +: 14x14+1.",
        )
    rows, cols = int(found[1]), int(found[2])
    return (rows, cols) if found[3] is None else PatchGrid(rows, cols, int(found[3]))
