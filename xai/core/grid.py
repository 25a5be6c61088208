"""Where patch tokens stand: the only place that knows how a token row becomes a patch grid."""

from dataclasses import dataclass
from typing import Any, TypeVar

from xai.core.errors import ModelError

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
                "Pass grid=PatchGrid(rows, cols, prefix) that fits the model.",
            )
        return tokens[..., self.prefix :].reshape(*tokens.shape[:-1], self.rows, self.cols)
