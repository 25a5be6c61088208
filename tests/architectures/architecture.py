"""One architecture: a tiny model of it, and how it comes to `xai.load`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import xai
from xai.models import Classifier

LABELS = ("cat", "dog", "eel")
SIDE = 64
_CELLS = 6  # of noise along a side, enlarged: neighbouring pixels are alike, as in photographs


@dataclass(frozen=True)
class Architecture:
    """One model family of a library.

    Args:
        name: "LIBRARY/FAMILY".
        size: Side of the input, pixels.
        make: The library's model with its own first weights, for three classes.
        save: Writes the model into a folder → what `xai.load` takes, and its options.
    """

    name: str
    size: int
    make: Callable[[], nn.Module]
    save: Callable[[nn.Module, Path], tuple[Any, dict[str, Any]]]

    @property
    def library(self) -> str:
        return self.name.partition("/")[0]

    def build(self) -> nn.Module:
        """The library's model, with uneven weights, in eval mode."""
        torch.manual_seed(0)
        return unevenly(self.make().eval(), self.pixels(8))

    def load(self, folder: Path) -> Classifier:
        """The same model through `xai.load`, from `folder`."""
        spec, options = self.save(self.build(), folder)
        return xai.load(spec, **options)

    def pixels(self, batch: int = 2) -> Tensor:
        """(batch, 3, size, size) smooth noise."""
        coarse = 2 * torch.randn(batch, 3, _CELLS, _CELLS, generator=torch.Generator().manual_seed(1))
        return nn.functional.interpolate(coarse, (self.size, self.size), mode="bicubic")


def unevenly(model: nn.Module, pixels: Tensor) -> nn.Module:
    """Give every weight a part in the answer: libraries begin with heads, biases and scales of nothing.

    Matrices keep the variance of what goes through them; batch normalisation gets the statistics of `pixels`.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if not parameter.is_floating_point() or parameter.ndim == 0 or "logit_" in name:
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1 and len(parameter) > 1 and parameter[0].numel() > 1:
                parameter.copy_(noise * (1.5 / parameter[0].numel()) ** 0.5)
            elif bool((parameter == parameter.flatten()[0]).all()) and float(parameter.flatten()[0]):
                parameter.copy_(0.8 + 0.1 * noise)  # gains, and scales of layers
            else:
                parameter.copy_(0.2 * noise)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            (model.visual if hasattr(model, "visual") else model)(pixels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
    return model
