"""Images divided into segments: superpixels that follow colours and edges, or the cells of a grid."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from xai.core import Registry, UsageError
from xai.core.options import checked
from xai.perturb.operator import chosen


@dataclass(frozen=True)
class Segmentation(ABC):
    """How images are divided. Its fields are its parameters, JSON-ready."""

    name: ClassVar[str]

    def describe(self) -> dict[str, Any]:
        """Name and parameters, JSON-ready."""
        return {"name": self.name, **asdict(self)}

    @property
    @abstractmethod
    def count(self) -> int:
        """How many segments are meant; an image may have a few more or less."""

    @abstractmethod
    def divide(self, pixels: Tensor) -> Tensor:
        """The segment of every pixel: (B, 3, H, W) → (B, H, W) long on the CPU, 0 … segments − 1 in each."""


SEGMENTATIONS: Registry[type[Segmentation]] = Registry("segmentation")


def _register(segmentation: type[Segmentation]) -> type[Segmentation]:
    segmentation.__init__ = checked(segmentation.__init__, f"Segmentation {segmentation.name!r}")
    return SEGMENTATIONS.add(segmentation.name)(segmentation)


@_register
@dataclass(frozen=True)
class Slic(Segmentation):
    """Superpixels by scikit-image's SLIC (Achanta et al. 2012), of the image as the model takes it.

    scikit-image stretches the values to [0, 1] and compares colours in CIELAB. Its version may move a border.

    Args:
        segments: About how many.
        compactness: Weight of nearness against likeness of colour; scikit-image's default is 10.
    """

    name: ClassVar[str] = "slic"
    segments: int = 50
    compactness: float = 10.0

    def __post_init__(self) -> None:
        if self.segments < 2 or not self.compactness > 0:
            raise UsageError(
                f"SLIC needs 2 segments or more and a compactness above 0; got {self.segments} and "
                f"{self.compactness}."
            )

    @property
    def count(self) -> int:
        return self.segments

    def divide(self, pixels: Tensor) -> Tensor:
        """See `Segmentation.divide`.

        Raises:
            UsageError: scikit-image is not installed.
        """
        try:
            from skimage.segmentation import slic  # pyrefly: ignore[missing-import]
        except ImportError:
            raise UsageError(
                "Superpixels are made by scikit-image, which is not installed.",
                "pip install 'vit-xai[segments]', or divide into cells: protocol tsigos-cells, or "
                "segments: {name: cells}.",
            ) from None
        labels = [
            torch.from_numpy(
                slic(image, n_segments=self.segments, compactness=self.compactness, start_label=0)
            )
            for image in pixels.detach().float().permute(0, 2, 3, 1).cpu().numpy()
        ]
        return torch.stack([one.unique(return_inverse=True)[1] for one in labels])


@_register
@dataclass(frozen=True)
class Cells(Segmentation):
    """The cells of a grid over the image: no library, and no regard for what is seen.

    Args:
        rows: Of the grid.
        cols: Of the grid.
    """

    name: ClassVar[str] = "cells"
    rows: int = 7
    cols: int = 7

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1 or self.count < 2:
            raise UsageError(f"Cells need 2 segments or more; got {self.rows}×{self.cols}.")

    @property
    def count(self) -> int:
        return self.rows * self.cols

    def divide(self, pixels: Tensor) -> Tensor:
        """See `Segmentation.divide`.

        Raises:
            UsageError: The image has fewer rows or columns.
        """
        height, width = pixels.shape[-2:]
        if self.rows > height or self.cols > width:
            raise UsageError(f"{self.rows}×{self.cols} cells are finer than {height}×{width} pixels.")
        row, col = torch.arange(height) * self.rows // height, torch.arange(width) * self.cols // width
        return (row[:, None] * self.cols + col).expand(len(pixels), -1, -1)


def segmentation_of(given: object) -> Segmentation:
    """A segmentation from a name, a mapping of name and parameters, or itself.

    Raises:
        UsageError: It is none of these, or unknown; the nearest valid name is named.
    """
    return chosen(SEGMENTATIONS, Segmentation, given)
