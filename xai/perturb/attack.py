"""What a search against the model puts in the place of evidence: changes too small to see that undo it.

Natural evolution strategies (Ilyas et al. 2018, arXiv 1804.08598) as Tsigos et al. use them to test (arXiv
2404.18649) and to make (2502.03957) explanations of deepfake detectors. The model is only asked, thousands of
times: no gradient is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from xai.core import ModelError, UsageError, derive_seed, problem_type_of
from xai.core.runtime import is_out_of_memory
from xai.core.target import SCORES
from xai.perturb.operator import Operator, PixelOperator, on_pixels, register

_TOGETHER = 32  # images of a pass at least, where states are few
_GROUP = 8  # images whose noise is held at once
_TOO_COARSE = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class _Search(Operator):
    """What both operators say of their search; see `Attack`."""

    samples: int = 40
    iterations: int = 50
    sigma: float = 0.001
    step: float = 1.0
    bound: float = 16.0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.iterations < 1:
            raise UsageError(f"samples={self.samples} and iterations={self.iterations} must be 1 or more.")
        if not (self.sigma > 0 and self.step > 0 and self.bound > 0):
            raise UsageError(f"sigma={self.sigma}, step={self.step} and bound={self.bound} must be above 0.")

    @property
    def search_passes(self) -> int:
        """Forward passes of one search, at most."""
        return self.iterations * (2 * self.samples + 1)

    @torch.no_grad()
    def search(self, classifier: nn.Module, pixels: Tensor, inside: Tensor, seeds: Sequence[int]) -> Tensor:
        """Lower the class that each image is taken for, until it is taken for another.

        Every iteration asks for the class's log-odds f at both sides of `samples` random changes u, the same
        in all channels, and moves the pixels inside by `step` along the sign of the estimated gradient
        Σ (f(x + σu) − f(x − σu)) u / 2nσ, downhill, no further than `bound` from the image.

        All searches go on side by side. Their random changes depend on the image's seed alone, so all regions
        of an image are tried with the same ones.

        Args:
            classifier: Pixels in, logits out.
            pixels: (S, 3, H, W), float32 or float64.
            inside: (S, H, W) bool, what may change.
            seeds: One per image, see `image_seeds`.

        Returns:
            (S, 3, H, W).

        Raises:
            UsageError: The model computes in 16 bits, in which changes of σ are lost.
        """
        dtype = next((p.dtype for p in classifier.parameters()), pixels.dtype)
        if dtype in _TOO_COARSE or pixels.dtype in _TOO_COARSE:
            raise UsageError(
                f"Operator {self.name!r} looks for the effect of changes of {self.sigma:g}, which is lost in "
                f"{str(dtype).removeprefix('torch.')}.",
                "Load the model with dtype=float32.",
            )
        with torch.autocast(pixels.device.type, enabled=False):
            return self._search(_Asked(classifier, max(_TOGETHER, len(pixels))), pixels, inside, seeds)

    def _search(self, ask: "_Asked", pixels: Tensor, inside: Tensor, seeds: Sequence[int]) -> Tensor:
        numbers = {seed: number for number, seed in enumerate(dict.fromkeys(seeds))}
        image = torch.tensor([numbers[seed] for seed in seeds], device=pixels.device)
        noise = [torch.Generator().manual_seed(derive_seed(seed, "attack")) for seed in numbers]
        size, limit = pixels.shape[-2:], self.bound / 255
        current = pixels.clone()
        active = inside.flatten(1).any(1).nonzero()[:, 0]
        followed = torch.zeros(len(pixels), dtype=torch.long, device=pixels.device)
        for turn in range(self.iterations):
            if not len(active):
                break
            logits = ask(current[active])
            if not turn:
                followed[active] = logits.argmax(1)
            active = active[ask.holds(logits, followed[active])]
            slope = pixels.new_zeros(len(active), *size)
            left = self.samples if len(active) else 0
            while left:
                together = min(left, max(1, ask.together // (2 * len(active))))
                left -= together
                drawn = [
                    torch.stack([torch.randn(size, generator=one) for _ in range(together)]) for one in noise
                ]
                changes = torch.stack(drawn).to(pixels)[image[active]]  # (A, n, H, W)
                moves = self.sigma * (changes * inside[active, None])[:, :, None]  # (A, n, 1, H, W)
                here = current[active, None]
                sides = torch.stack([here + moves, here - moves], 2)  # (A, n, 2, 3, H, W)
                target = followed[active].repeat_interleave(2 * together)
                values = ask.log_odds(sides.flatten(0, 2), target).reshape(len(active), together, 2)
                slope += torch.einsum("an,anhw->ahw", values[..., 0] - values[..., 1], changes)
            moved = current[active] - (self.step / 255) * (slope.sign() * inside[active])[:, None]
            clean = pixels[active]
            current[active] = moved.clamp(clean - limit, clean + limit)
        return current


@register
@dataclass(frozen=True)
class Attack(_Search):
    """The removed units themselves, changed slightly as a search against the model finds, to undo its answer.

    Every state is searched for anew (up to 4051 forward passes), so units are to be few: see the protocol
    `tsigos`. What changes is the class that the model gives the image as it is; where that is not the class
    followed, the value may rise.

    Args:
        samples: Random changes per iteration, each tried in both directions.
        iterations: At most; the search ends when the class is no longer the first choice (of independent
            labels: when its logit is not above 0).
        sigma: Size of the random changes, in the units of the model's input.
        step: Of the pixels in each iteration, in 255ths of these units.
        bound: Largest change of a pixel, likewise.
    """

    name: ClassVar[str] = "attack"

    @property
    def passes(self) -> int:
        return self.search_passes + 1

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> None:
        """Nothing: what takes the place of units depends on which are removed."""

    def logits(
        self, classifier: nn.Module, pixels: Tensor, baseline: Tensor | None, removed: Tensor, seeds: Tensor
    ) -> Tensor:
        inside = on_pixels(removed, (pixels.shape[-2], pixels.shape[-1]))
        return classifier(self.search(classifier, pixels, inside, seeds.tolist()))


@register
@dataclass(frozen=True)
class Adversarial(PixelOperator, _Search):
    """The same place in a copy of the image that a search changed all over, so that its class is undone.

    One search per image (up to 6480 forward passes), whatever the number of states. It is what LIME, SHAP,
    SOBOL and RISE put in the place of removed regions in Tsigos et al. 2025 (arXiv 2502.03957).

    Args:
        samples: See `Attack`, also for the others.
        iterations: At most.
        sigma: Size of the random changes.
        step: Of the pixels in each iteration.
        bound: Largest change of a pixel.
    """

    name: ClassVar[str] = "adversarial"
    iterations: int = 80

    @property
    def image_passes(self) -> int:
        return self.search_passes

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        everywhere = torch.ones_like(pixels[:, 0], dtype=torch.bool)
        parts = range(0, len(pixels), _GROUP)
        return torch.cat([
            self.search(classifier, pixels[i : i + _GROUP], everywhere[i : i + _GROUP], seeds[i : i + _GROUP])
            for i in parts
        ])  # fmt: skip


class _Asked:
    """A classifier that is asked about many images, as many at a time as memory holds."""

    def __init__(self, classifier: nn.Module, together: int):
        self._classifier, self._kind, self.together = classifier, problem_type_of(classifier), together

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (S, classes)."""
        while True:
            try:
                return torch.cat([self._classifier(part) for part in images.split(self.together)])
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or self.together == 1:
                    raise
                self.together //= 2

    def log_odds(self, images: Tensor, target: Tensor) -> Tensor:
        """(S,) of the classes (S,)."""
        return SCORES["log_odds"](self(images), target, self._kind)

    def holds(self, logits: Tensor, target: Tensor) -> Tensor:
        """(S,) whether the model still gives these classes."""
        if self._kind.independent:
            return logits.gather(1, target[:, None])[:, 0] > 0
        if logits.shape[1] < 2:
            raise ModelError("A search for another class needs two classes or more; the model has one.")
        return logits.argmax(1) == target
