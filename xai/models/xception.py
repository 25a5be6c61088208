"""Xception (Chollet 2017, arXiv 1610.02357) under the names of FaceForensics++ and DeepfakeBench.

Widths, depths and strides are read from the weights: a block that has a skip convolution halves the image.
"""

import re

import torch
from torch import Tensor, nn

from xai.core import ModelError
from xai.models.checkpoint import State
from xai.models.tower import FeatureMapOutput, filled, shape_of


class SeparableConv(nn.Module):
    """A 3 × 3 convolution of each channel, then one across channels."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) → (B, outputs, h, w)."""
        return self.pointwise(self.conv1(features))


class XceptionBlock(nn.Module):
    """Separable convolutions, halved and joined with a skip convolution where there is one.

    Args:
        state: Weights of the block.
    """

    def __init__(self, state: State):
        super().__init__()
        numbers = _numbers(state, r"rep\.(\d+)\.pointwise\.weight")
        layers: list[nn.Module] = []
        for number in numbers:
            if number != 0:  # the first block of all begins without
                layers.append(nn.ReLU())
            outputs, inputs = shape_of(state, f"rep.{number}.pointwise.weight", 4)[:2]
            layers += [SeparableConv(inputs, outputs), nn.BatchNorm2d(outputs)]
        self.skip = self.skipbn = None
        if "skip.weight" in state:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
            outputs, inputs = shape_of(state, "skip.weight", 4)[:2]
            self.skip = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
            self.skipbn = nn.BatchNorm2d(outputs)
        self.rep = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) → (B, outputs, h, w), or half of h and w, rounded up."""
        if self.skip is None or self.skipbn is None:
            return self.rep(features) + features
        return self.rep(features) + self.skipbn(self.skip(features))


class Xception(nn.Module):
    """Pixels (B, 3, H, W) → the last feature map, and its mean over places.

    Args:
        state: The weights, from which sizes are read.
    """

    def __init__(self, state: State):
        super().__init__()
        first, second = shape_of(state, "conv1.weight", 4), shape_of(state, "conv2.weight", 4)
        self.conv1 = nn.Conv2d(first[1], first[0], 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(first[0])
        self.conv2 = nn.Conv2d(second[1], second[0], 3, bias=False)
        self.bn2 = nn.BatchNorm2d(second[0])
        self.relu = nn.ReLU()
        self.depth = len(_numbers(state, r"block(\d+)\.rep\.\d+\.pointwise\.weight"))
        for number in range(1, self.depth + 1):
            before = f"block{number}."
            own = {key.removeprefix(before): value for key, value in state.items() if key.startswith(before)}
            setattr(self, f"block{number}", XceptionBlock(own))
        for number in (3, 4):
            outputs, inputs = shape_of(state, f"conv{number}.pointwise.weight", 4)[:2]
            setattr(self, f"conv{number}", SeparableConv(inputs, outputs))
            setattr(self, f"bn{number}", nn.BatchNorm2d(outputs))
            self.width = outputs

    def forward(self, pixel_values: Tensor) -> FeatureMapOutput:
        """The pooled feature is (B, width)."""
        features = self.relu(self.bn1(self.conv1(pixel_values)))
        features = self.relu(self.bn2(self.conv2(features)))
        for number in range(1, self.depth + 1):
            features = getattr(self, f"block{number}")(features)
        features = self.relu(self.get_submodule("bn3")(self.get_submodule("conv3")(features)))
        features = self.relu(self.get_submodule("bn4")(self.get_submodule("conv4")(features)))
        return FeatureMapOutput(features, features.mean(dim=(2, 3)))


def build_xception(state: State) -> Xception:
    """The network with these weights, in their type and in eval mode.

    Raises:
        ModelError: When keys are missing, left over or of the wrong shape.
    """
    with torch.device("meta"):  # the memory is that of the weights
        model = Xception(state)
    return filled(model, state, "an Xception")


def _numbers(state: State, pattern: str) -> list[int]:
    """The numbers that names have at a place, in order.

    Raises:
        ModelError: There are none, or absurd ones.
    """
    found = {match[1] for key in state if (match := re.fullmatch(pattern, key))}
    numbers = sorted(int(number) for number in found if len(number) <= 3)
    if not numbers or len(numbers) < len(found):
        raise ModelError("The weights have no blocks of an Xception.", "The checkpoint is incomplete.")
    return numbers
