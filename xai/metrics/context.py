"""What all perturbation metrics of one batch share: protocol, images, classes, seeds and rankings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from xai.attention import grid_of
from xai.core import ModelError, PatchGrid, UsageError, problem_type_of
from xai.metrics.maps import apply_sign, check_relevance, to_patches, to_pixels
from xai.metrics.protocol import Protocol
from xai.metrics.protocol import protocol as resolve_protocol
from xai.metrics.ranking import RankedMaps, rank_segments, tie_seeds
from xai.perturb import (
    Operator,
    Request,
    States,
    Stream,
    evaluation_mode,
    image_seeds,
    rank_units,
    tie_fraction,
    without_graph,
)

AnyProtocol = str | Protocol | Mapping[str, Any]
Target = int | Sequence[int] | Tensor | None

_SCORES = {"margin": "log_odds", "probability": "log_odds", "logit": "logit", "accuracy": "correct"}


@dataclass(frozen=True, eq=False)
class Context:
    """A batch under a protocol.

    Args:
        protocol: How everything is computed.
        pixels: (B, 3, H, W).
        targets: (B,) class indices.
        seeds: One per image (`xai.perturb.image_seeds`), so that an image has the same in any batch.
        grid: The model's patch grid for these pixels; the grid of pixels where it has none.
        left_out: (B,) bool, images that the protocol does not score; None where it scores all.
    """

    protocol: Protocol
    pixels: Tensor
    targets: Tensor
    seeds: Sequence[int]
    grid: PatchGrid
    left_out: Tensor | None = None
    _ranked: list[tuple[Tensor, RankedMaps]] = field(default_factory=list, repr=False)

    @property
    def images(self) -> int:
        """B."""
        return len(self.pixels)

    @property
    def units(self) -> tuple[int, int]:
        """Rows and columns of what the protocol removes."""
        return self.protocol.units((self.grid.rows, self.grid.cols), self.size)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def total(self) -> int:
        """Number of units."""
        return self.units[0] * self.units[1]

    @property
    def counts(self) -> tuple[int, ...]:
        """Units removed at each point of a curve."""
        return self.protocol.counts(self.units)

    @property
    def fractions(self) -> Tensor:
        """(K,) float64 shares of units removed at each point of a curve."""
        return torch.tensor(self.counts, dtype=torch.float64) / self.total

    def patch_relevance(self, relevance: Tensor) -> Tensor:
        """(M, B, rows, cols) or (M, B, H, W) → (M, B, patches) with the protocol's sign."""
        patches = to_patches(relevance, (self.grid.rows, self.grid.cols))
        return apply_sign(patches, self.protocol.sign).flatten(2)

    def rank(self, relevance: Tensor) -> RankedMaps:
        """The order of the protocol's units in every map; computed once for all metrics."""
        for known, ranking in self._ranked:
            if known is relevance:
                return ranking
        ranking = self._rank(relevance)
        self._ranked.append((relevance, ranking))
        return ranking

    def _rank(self, relevance: Tensor) -> RankedMaps:
        protocol, (rows, cols) = self.protocol, self.units
        if protocol.segments is not None:
            pixels = to_pixels(relevance, self.size, protocol.upsampling)
            return rank_segments(protocol, pixels, protocol.segments.divide(self.pixels), self.seeds)
        if protocol.unit == "patch":
            units = self.patch_relevance(relevance)
        else:
            pixels = to_pixels(relevance, (rows, cols), protocol.upsampling)
            units = apply_sign(pixels, protocol.sign).flatten(2)
        methods, images, total = units.shape
        draws = protocol.tie_draws
        seeds = tie_seeds(protocol, self.seeds, methods)
        flat = units.reshape(-1, total)
        return RankedMaps(
            units=units,
            ranks=rank_units(flat.repeat_interleave(draws, dim=0), seeds).reshape(-1, rows, cols),
            image=torch.arange(images).repeat_interleave(draws).repeat(methods),
            ties=tie_fraction(flat).reshape(methods, images).double().cpu(),
        )

    def request(
        self, ranking: RankedMaps, intervals: Sequence[tuple[int, int]], operator: Operator
    ) -> Request:
        """In every ranking, one state per interval of ranks to remove."""
        lows, highs = zip(*intervals, strict=True)
        states = States(
            rankings=ranking.ranks,
            image=ranking.image,
            row=torch.arange(len(ranking.ranks)).repeat_interleave(len(intervals)),
            low=ranking.places(lows).flatten(),
            high=ranking.places(highs).flatten(),
        )
        return Request(operator, states, self.score)

    def ends_request(self, ranking: RankedMaps, operator: Operator) -> Request:
        """Every image as it is and with everything removed."""
        row = torch.arange(self.images) * self.protocol.tie_draws  # of the first method
        high = torch.tensor([0, ranking.ranks[0].numel()], dtype=torch.int32)
        states = States(
            rankings=ranking.ranks,
            image=ranking.image,
            row=row.repeat_interleave(2),
            low=torch.zeros(2 * self.images, dtype=torch.int32),
            high=high.repeat(self.images),
        )
        return Request(operator, states, self.score)

    @property
    def score(self) -> str:
        """What the stream reads from the logits."""
        return _SCORES[self.protocol.value]

    def values(self, scores: Tensor) -> Tensor:
        """Float64 values of the protocol from what the stream read."""
        exact = scores.double()
        return exact.sigmoid() if self.protocol.value == "probability" else exact


def as_stream(model: nn.Module | Stream, batch_size: int | None = None, seed: int = 0) -> Stream:
    """The stream itself, or a new one around a classifier."""
    if isinstance(model, Stream):
        return model
    if not isinstance(model, nn.Module):
        raise UsageError(f"Metrics test a torch.nn.Module; got {type(model).__name__}.", "Use xai.load(...).")
    return Stream(model, batch_size=batch_size, seed=seed)


def make_context(
    stream: Stream, pixels: Tensor, relevance: Tensor, targets: Target, protocol: AnyProtocol
) -> Context:
    """Check everything that can be checked before the model runs (once, for targets that it predicts)."""
    chosen = resolve_protocol(protocol)
    chosen.check_head(problem_type_of(stream.classifier))
    check_pixels(pixels)
    grid = _grid(stream.classifier, pixels, relevance, chosen)
    size = (pixels.shape[-2], pixels.shape[-1])
    check_relevance(relevance, len(pixels), (grid.rows, grid.cols), size)
    chosen.counts(chosen.units((grid.rows, grid.cols), size))
    followed = find_targets(stream, pixels, targets, chosen)
    wrong = chosen.images == "correct" and targets is not None
    return Context(
        protocol=chosen,
        pixels=pixels,
        targets=followed,
        seeds=image_seeds(pixels, stream.seed),
        grid=grid,
        left_out=predict(stream, pixels) != followed if wrong else None,
    )


def _grid(model: nn.Module, pixels: Tensor, relevance: Tensor, protocol: Protocol) -> PatchGrid:
    """The model's patch grid; pixel maps under pixel protocols need none, and pixels stand in for it."""
    try:
        return grid_of(model, pixels)
    except ModelError:
        size = (pixels.shape[-2], pixels.shape[-1])
        if protocol.unit != "patch" and getattr(relevance, "shape", ())[-2:] == size:
            return PatchGrid(*size)
        raise


def check_pixels(pixels: Tensor) -> None:
    """Refuse pixels that are not finite floating point of shape (B, 3, H, W)."""
    if not isinstance(pixels, Tensor):
        raise UsageError(f"Pixels must be one tensor; got {type(pixels).__name__}.")
    if pixels.dim() != 4 or not pixels.is_floating_point() or not len(pixels):
        raise UsageError(
            f"Pixels must be floating point of shape (B, 3, H, W); got {pixels.dtype} {tuple(pixels.shape)}."
        )
    if not pixels.isfinite().all():
        raise UsageError("The pixels hold NaN or infinite values.", "Check the preprocessing of this image.")


def find_targets(stream: Stream, pixels: Tensor, targets: Target, protocol: Protocol) -> Tensor:
    """(B,) long: the classes given, else the predicted ones.

    Raises:
        UsageError: The protocol follows the label and none is given, or targets are no class indices.
    """
    images = len(pixels)
    if targets is None:
        if protocol.target == "label":
            raise UsageError(
                f"Protocol {protocol.name!r} follows the label; target=None says none.",
                f'Pass target=, or use {{"base": "{protocol.name}", "target": "predicted"}}.',
            )
        return predict(stream, pixels)
    try:
        given = torch.as_tensor(targets)
    except (TypeError, ValueError, RuntimeError):
        given = None
    if given is None or given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise UsageError(f"A target is a class index, or one per image; got {targets!r}.")
    if given.dim() and given.shape != (images,):
        raise UsageError(f"{images} images need one target or {images}; got shape {tuple(given.shape)}.")
    return given.to("cpu", torch.long).expand(images).contiguous()


def predict(stream: Stream, pixels: Tensor) -> Tensor:
    """(B,) long on the CPU: the model's first choice for every image as it is, one forward pass each."""
    model = stream.classifier
    device = next((p.device for p in model.parameters()), pixels.device)
    classes = []
    with evaluation_mode(model), without_graph():
        for batch in pixels.detach().split(stream.batch_size):
            with torch.autocast(device.type, stream.autocast, enabled=stream.autocast is not None):
                classes.append(model(batch.to(device)).argmax(dim=1))
            stream.forwards += len(batch)
    return torch.cat(classes).cpu().clone()
