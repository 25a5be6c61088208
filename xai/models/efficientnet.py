"""EfficientNet (Tan and Le 2019, arXiv 1905.11946) under the names of the package efficientnet_pytorch.

Widths, kernels and depths are read from the weights; a block that changes the number of channels begins a
stage, and stages halve the image as published. That package pads as TensorFlow does, by what an image of the
variant's own size needs (380 pixels for B4), whatever the size of the image is.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.core import ModelError
from xai.models.checkpoint import State
from xai.models.tower import FeatureMapOutput, filled, layers_of, shape_of

_EPS = 1e-3  # of every batch norm
_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the stages
_SIDE = 380  # of the images that B4 was made for


class PaddedConv(nn.Conv2d):
    """A convolution that pads by a fixed number on either side, one more on the right and below if odd.

    Args:
        shape: Of its kernel: (outputs, inputs of a group, k, k).
        stride: Its.
        groups: Its.
        side: Of the feature map that the padding is right for.
        bias: Whether it has one.
    """

    def __init__(
        self, shape: tuple[int, ...], *, stride: int = 1, groups: int = 1, side: int = 1, bias: bool = False
    ):
        outputs, inputs, kernel, _ = shape
        super().__init__(inputs * groups, outputs, kernel, stride, groups=groups, bias=bias)
        spare = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        self.margins = (spare // 2, spare - spare // 2) * 2

    def extra_repr(self) -> str:
        """What the parts do not show."""
        return f"{super().extra_repr()}, margins={self.margins}"

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, h, w) → (B, outputs, …)."""
        return super().forward(F.pad(input, self.margins) if any(self.margins) else input)


class MBConv(nn.Module):
    """Expansion, a convolution of each channel, channels weighed by their mean, projection.

    Args:
        state: Weights of the block.
        stride: Of the convolution.
        side: Of the feature map that its padding is right for.
    """

    def __init__(self, state: State, stride: int, side: int):
        super().__init__()

        def norm(name: str) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(shape_of(state, f"{name}.weight", 1)[0], eps=_EPS)

        depthwise = shape_of(state, "_depthwise_conv.weight", 4)
        projection = shape_of(state, "_project_conv.weight", 4)
        self.expands = "_expand_conv.weight" in state
        self.joins = stride == 1 and inputs_of(state) == projection[0]
        if self.expands:
            self._expand_conv = PaddedConv(shape_of(state, "_expand_conv.weight", 4))
            self._bn0 = norm("_bn0")
        self._depthwise_conv = PaddedConv(depthwise, stride=stride, groups=depthwise[0], side=side)
        self._bn1 = norm("_bn1")
        self._se_reduce = PaddedConv(shape_of(state, "_se_reduce.weight", 4), bias=True)
        self._se_expand = PaddedConv(shape_of(state, "_se_expand.weight", 4), bias=True)
        self._project_conv = PaddedConv(projection)
        self._bn2 = norm("_bn2")
        self._swish = nn.SiLU()

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) → (B, outputs, …)."""
        x = self._swish(self._bn0(self._expand_conv(features))) if self.expands else features
        x = self._swish(self._bn1(self._depthwise_conv(x)))
        weights = self._se_expand(self._swish(self._se_reduce(x.mean(dim=(2, 3), keepdim=True))))
        x = self._bn2(self._project_conv(weights.sigmoid() * x))
        return x + features if self.joins else x


def inputs_of(state: State) -> int:
    """Channels that a block takes."""
    expands = "_expand_conv.weight" in state
    shape = shape_of(state, "_expand_conv.weight" if expands else "_depthwise_conv.weight", 4)
    return shape[1] if expands else shape[0]


class EfficientNet(nn.Module):
    """Pixels (B, 3, H, W) → the last feature map, and its mean over places.

    DeepfakeBench's own stem does not pad.

    Args:
        state: The weights, from which sizes are read.

    Raises:
        ModelError: It has more stages than an EfficientNet.
    """

    def __init__(self, state: State):
        super().__init__()
        stem, head = shape_of(state, "_conv_stem.weight", 4), shape_of(state, "_conv_head.weight", 4)
        self._conv_stem = nn.Conv2d(stem[1], stem[0], 3, stride=2, bias=False)
        self._bn0 = nn.BatchNorm2d(stem[0], eps=_EPS)
        side, stage, blocks = math.ceil(_SIDE / 2), -1, []
        for number in range(layers_of({key: value for key, value in state.items() if "blocks." in key})):
            before = f"_blocks.{number}."
            own = {key.removeprefix(before): value for key, value in state.items() if key.startswith(before)}
            begins = inputs_of(own) != shape_of(own, "_project_conv.weight", 4)[0]
            stage += begins
            if not 0 <= stage < len(_STRIDES):
                raise ModelError(
                    f"The blocks change the number of channels {stage + 1} times; an EfficientNet has "
                    f"{len(_STRIDES)} stages.",
                    'Load it with factory: "package.module:Class" in the YAML.',
                )
            stride = _STRIDES[stage] if begins else 1
            blocks.append(MBConv(own, stride, side))
            side = math.ceil(side / stride)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = PaddedConv(head)
        self._bn1 = nn.BatchNorm2d(head[0], eps=_EPS)
        self._swish = nn.SiLU()
        self.width = head[0]

    def forward(self, pixel_values: Tensor) -> FeatureMapOutput:
        """The pooled feature is (B, width)."""
        features = self._swish(self._bn0(self._conv_stem(pixel_values)))
        for block in self._blocks:
            features = block(features)
        features = self._swish(self._bn1(self._conv_head(features)))
        return FeatureMapOutput(features, features.mean(dim=(2, 3)))


def build_efficientnet(state: State) -> EfficientNet:
    """The network with these weights, in their type and in eval mode.

    Raises:
        ModelError: When keys are missing, left over or of the wrong shape.
    """
    with torch.device("meta"):  # the memory is that of the weights
        model = EfficientNet(state)
    return filled(model, state, "an EfficientNet of efficientnet_pytorch")
