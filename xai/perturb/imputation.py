"""ROAD's operator: removed pixels become what their neighbours let expect, plus a little noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from xai.core import UsageError
from xai.perturb.operator import Operator, on_pixels, register
from xai.perturb.replace import image_noise
from xai.perturb.road import impute


@register
@dataclass(frozen=True)
class Road(Operator):
    """Noisy linear imputation (Rong et al. 2022, arXiv 2202.00449), solved on the device.

    The paper imputes before normalisation. Imputing is affine, so normalised pixels give the same; the noise
    is scaled to them where the classifier says how it normalises, else it is taken to be in their units.

    Args:
        noise: Standard deviation, for pixels in [0, 1]; drawn once per image.
    """

    name: ClassVar[str] = "road"
    noise: float = 0.01

    def __post_init__(self) -> None:
        if not self.noise >= 0:
            raise UsageError(f"noise={self.noise} must be 0 or more.")

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor | None:
        """The noise, (B, 3, H, W)."""
        if not self.noise:
            return None
        noise = image_noise(pixels, seeds) * self.noise
        steps = getattr(classifier, "preprocessing", None)
        if steps is not None:
            noise *= 255 * steps.scale / noise.new_tensor(steps.std).view(-1, 1, 1)
        return noise

    def logits(
        self, classifier: nn.Module, pixels: Tensor, substrate: Tensor | None, removed: Tensor, seeds: Tensor
    ) -> Tensor:
        removed = on_pixels(removed, (pixels.shape[-2], pixels.shape[-1]))
        return classifier(impute(pixels, removed, substrate))
