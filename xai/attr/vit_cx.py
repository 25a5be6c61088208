"""ViT-CX: the causal impact of masks made of the tokens' own feature maps."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from xai.attr.base import MethodInfo, PatchAttribution, PatchMaps, Pixels
from xai.attr.batching import VALUES, arguments_of, class_values, targets_of, variant_scores
from xai.attr.layers import Layers, resolve_layers
from xai.attr.registry import register
from xai.attr.token_grad_cam import TokenEntry, find_entry
from xai.core import PatchGrid, UsageError
from xai.core.options import check_option
from xai.core.target import Target
from xai.perturb import image_seeds
from xai.perturb.replace import image_noise

Masks = Float[Tensor, "masks patches"]


@register
class ViTCX(PatchAttribution):
    """Feature maps as masks, weighted by their causal impact: `S_j = Σ_i s_i M_ij / Σ_i M_ij`.

    `s_i = f(x ⊙ M_i + Z ⊙ (1 − M_i)) − f(x + Z ⊙ (1 − M_i)) + f(x)`: the score of what the mask shows, with
    Gaussian noise Z where it hides, and the noise's own effect taken out. The channels of the tokens that
    enter an attention layer, each scaled to [0, 1] over the patches, are merged while the cosine distance
    between the farthest channels of two clusters is below `distance` (complete linkage); a mask is the sum
    of a cluster, scaled to [0, 1]. The division corrects for how often a patch is shown.

    Deviations: clusters and the map are made on the patch grid, and masks are enlarged bilinearly for the
    model's eyes only; the masks of an image share one Z; `max_masks` bounds the cost (merging then goes on
    beyond `distance`); a channel or cluster without contrast hides nothing; a patch that no mask shows gets
    0. The authors' program divides by the number of masks once more.

    Args:
        forward_func: See `PatchAttribution`.
        layer: Index of an attention layer, negative from the end; an attention pooling head counts as the
            last. The tokens are those that enter it.
        distance: Cosine distance from which clusters stay apart.
        max_masks: Most masks of an image, for 2 forward passes each.
        noise: Standard deviation of Z, in normalised pixels.
        value: f: `probability`, as in the paper, `log_odds` or `logit` of the target.
        seed: Of the noise.
        internal_batch_size: Images per forward pass; memory grows with it, the result does not change.
    """

    info = MethodInfo(
        name="vit_cx",
        family="perturbation",
        class_sensitive=True,
        signed=False,
        forwards=1000,
        backwards=0,
        reference="Xie et al. 2023, arXiv 2211.03064",
        summary="Clustered feature maps of the tokens as masks, weighted by the probability they keep.",
        deterministic=False,
        needs="global_attention",
    )

    def __init__(
        self,
        forward_func: nn.Module,
        layer: Layers = -1,
        distance: float = 0.1,
        max_masks: int = 499,
        noise: float = 0.1,
        value: str = "probability",
        seed: int = 0,
        internal_batch_size: int = 32,
    ):
        super().__init__(forward_func)
        if distance < 0 or max_masks < 1 or noise < 0 or internal_batch_size < 1:
            raise UsageError(
                f"distance={distance}, max_masks={max_masks}, noise={noise}, internal_batch_size="
                f"{internal_batch_size} is out of range: distance, noise ≥ 0; the others ≥ 1."
            )
        check_option("value", value, VALUES)
        self.layer, self.distance, self.max_masks, self.noise = layer, distance, max_masks, noise
        self.value, self.seed, self.internal_batch_size = value, seed, internal_batch_size
        self._entries: dict[tuple[int, ...], tuple[TokenEntry, list[int]]] = {}

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        images, grid = len(pixels), self._grid(pixels)

        def forward(image: Tensor, _: Tensor) -> Any:
            return self._values(pixels[image.to(pixels.device)], arguments_of(args, image, images))

        plain = variant_scores(forward, images, 1, targets, self.internal_batch_size)
        noise = image_noise(pixels, image_seeds(pixels, self.seed)) * self.noise
        found = []
        for i in torch.arange(images).split(1):  # each has its own number of masks
            at, own = i.to(pixels.device), arguments_of(args, i, images)
            masks = self._masks(pixels[at], own, grid)
            patch_masks = masks.unflatten(-1, (grid.rows, grid.cols))
            wanted = [targets_of(t, i) for t in targets]
            impact = plain[:, i[0]] + self._change(pixels[at], noise[at], patch_masks, wanted, own)
            weight = masks.to(impact)
            found.append(impact @ weight / weight.sum(0).clamp_min(torch.finfo(weight.dtype).tiny))
        return torch.stack(found, 1).unflatten(-1, (grid.rows, grid.cols))

    def _masks(self, pixels: Pixels, args: tuple[Any, ...], grid: PatchGrid) -> Masks:
        """The masks of one image, from the tokens that enter the layer."""
        size, probe = tuple(pixels.shape[1:]), self._probe(pixels, args)
        if size not in self._entries:
            layers = resolve_layers(self.layer, probe.layers)
            if len(layers) > 1:
                raise UsageError(f"layer={self.layer!r} means the layers {layers}; one is looked at.")
            self._entries[size] = find_entry(self.model, grid, layers[0], pixels, args), layers
        entry, layers = self._entries[size]
        with (
            self._recording(probe, len(pixels), layers, gradients=False) as recording,
            entry.as_leaf(recording, grid.tokens) as leaves,
        ):
            self.model(pixels, *args)
        return cluster_masks(entry.patches(leaves[0], grid)[0].T, self.distance, self.max_masks)

    def _change(
        self,
        pixels: Pixels,
        noise: Pixels,
        masks: Float[Tensor, "masks rows cols"],
        targets: Sequence[Target],
        args: tuple[Any, ...],
    ) -> Float[Tensor, "targets masks"]:
        """What hiding changes beyond the noise: f(x ⊙ M + Z ⊙ (1 − M)) − f(x + Z ⊙ (1 − M)) of one image."""
        count = len(masks)

        def forward(image: Tensor, variant: Tensor) -> Any:
            variant = variant.to(pixels.device)
            small = masks[variant % count, None].to(pixels.dtype)
            mask = F.interpolate(small, pixels.shape[-2:], mode="bilinear")
            masked = torch.where((variant < count)[:, None, None, None], pixels * mask, pixels)
            arguments = arguments_of(args, torch.zeros_like(image), 1)
            return self._values(masked + noise * (1 - mask), arguments)

        y = variant_scores(forward, 1, 2 * count, targets, self.internal_batch_size)[:, 0]
        return y[:, :count] - y[:, count:]

    def _values(self, pixels: Tensor, args: tuple[Any, ...]) -> Any:
        return class_values(self.model(pixels, *args), self.value, self.model)


def cluster_masks(channels: Float[Tensor, "channels patches"], distance: float, most: int) -> Masks:
    """Sums of the clusters of similar channels, each scaled to [0, 1] before and after."""
    maps = unit_range(channels)
    directions = F.normalize(maps, dim=1)
    label = complete_linkage(1 - (directions @ directions.T).cpu(), distance, most).to(maps.device)
    member = (label == torch.arange(int(label.max()) + 1, device=maps.device)[:, None]).to(maps)
    return unit_range(member @ maps)


def unit_range(maps: Float[Tensor, "n patches"]) -> Float[Tensor, "n patches"]:
    """Each row scaled to [0, 1]; ones where it is constant."""
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low), 1.0)


def complete_linkage(distance: Float[Tensor, "n n"], threshold: float, most: int) -> Int[Tensor, "n"]:
    """Agglomerative clustering: labels 0, 1, … of the clusters.

    The two closest clusters merge while they are nearer than the threshold or there are more than `most`;
    two clusters are as far apart as their farthest members.
    """
    n = len(distance)
    apart, label = distance.clone().fill_diagonal_(torch.inf), torch.arange(n)
    for clusters in range(n, 1, -1):
        closest = int(apart.argmin())
        a, b = divmod(closest, n)
        if clusters <= most and apart[a, b] >= threshold:
            break
        farthest = torch.maximum(apart[a], apart[b])
        farthest[a] = torch.inf
        apart[a], apart[:, a] = farthest, farthest
        apart[b], apart[:, b] = torch.inf, torch.inf
        label[label == b] = a
    return label.unique(return_inverse=True)[1]
