"""True missingness: a removed patch is hidden from every other token, in every layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xai.attention import check_maskable, drop_patches, entry_of, grid_of, mask_patches, probe
from xai.core import ModelError, PatchGrid, UsageError
from xai.perturb.operator import Operator, register

# by input size, of classifiers that were found maskable: patch grid, the name of the module at which patches
# can be dropped, and the number of image attention calls of a pass
_Found = tuple[PatchGrid, str | None, int | None]
_MASKABLE: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], _Found]] = WeakKeyDictionary()


@register
@dataclass(frozen=True)
class Token(Operator):
    """Masks the key of a removed patch in every attention layer; nothing is put in its place.

    Equal to dropping the patch token after the embedding (position embeddings of the others kept), which a
    vision transformer can do without and a convolution cannot (Jain et al. 2022, arXiv 2204.08945). Where
    a model was found to give that answer, tokens are dropped indeed: states cost what they keep.
    """

    name: ClassVar[str] = "token"
    batched_by_size: ClassVar[bool] = True

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> None:
        """Make sure, once per classifier and input size, that a hidden patch is not read by another way.

        Raises:
            ModelError: The classifier reads patch tokens, or would have nothing left to read.
        """
        size = tuple(pixels.shape[1:])
        known = _MASKABLE.setdefault(classifier, {})
        if size not in known:
            grid = grid_of(classifier, pixels)
            calls = _check(classifier, pixels[:1], grid)
            entry = entry_of(classifier, pixels, grid)
            names = (name for name, module in classifier.named_modules() if module is entry)
            known[size] = grid, next(names, None), calls

    def gains_by_size(self, classifier: nn.Module, pixels: Tensor) -> bool:
        """Where tokens are dropped; a masked one costs what a token costs."""
        self.prepare(classifier, pixels, ())
        return _MASKABLE[classifier][tuple(pixels.shape[1:])][1] is not None

    def logits(
        self, classifier: nn.Module, pixels: Tensor, baseline: Tensor | None, removed: Tensor, seeds: Tensor
    ) -> Tensor:
        known = _MASKABLE.get(classifier, {}).get(tuple(pixels.shape[1:]))
        grid, entry, calls = known or (grid_of(classifier, pixels), None, None)
        if removed.shape[1:] != (grid.rows, grid.cols):
            raise UsageError(
                f"Operator 'token' removes patches of the {grid.rows}×{grid.cols} grid; "
                f"got units {tuple(removed.shape[1:])}.",
                'Use unit="patch", or an operator on pixels.',
            )
        present = ~removed.flatten(1)
        if entry is None:
            with mask_patches(classifier, present, grid, images=len(pixels), calls=calls):
                return classifier(pixels)
        with drop_patches(classifier, classifier.get_submodule(entry), present, grid):
            return classifier(pixels)


def _check(classifier: nn.Module, pixels: Tensor, grid: PatchGrid) -> int:
    """How many image attention calls a pass makes, in a model that reads no hidden patch."""
    with torch.inference_mode(False):
        pixels = pixels.clone()
        probed = probe(classifier, pixels, (), grid)
        check_maskable(probed)
        both = torch.cat([pixels, -pixels])
        nothing = torch.zeros(2, grid.patches, dtype=torch.bool, device=pixels.device)
        with torch.no_grad(), mask_patches(classifier, nothing, grid, images=2, calls=probed.calls):
            one, other = classifier(both).float()
    if not torch.allclose(one, other, rtol=1e-2, atol=1e-3):
        raise ModelError(
            "With every patch masked the model still tells two images apart "
            f"(logits differ by {float((one - other).abs().max()):.3g}): it reads them past its attention.",
            "Use a protocol that replaces pixels, such as vit-mean.",
        )
    return probed.calls
