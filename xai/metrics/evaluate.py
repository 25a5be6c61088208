"""All perturbation metrics of all methods on a batch, in one pass of the stream."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xai.attention import grid_of
from xai.core import ModelError, PatchGrid, UsageError, problem_type_of
from xai.metrics.context import Context
from xai.metrics.maps import check_relevance
from xai.metrics.perturbation import Scores, perturbation_metric
from xai.metrics.presets import protocol as resolve
from xai.metrics.protocol import Protocol
from xai.perturb import Stream, evaluation_mode, image_seeds, without_graph

AnyProtocol = str | Protocol | Mapping[str, Any]
Target = int | Sequence[int] | Tensor | None


def evaluate(
    model: nn.Module | Stream,
    metrics: Sequence[str],
    pixels: Tensor,
    relevance: Tensor,
    targets: Target = None,
    protocol: AnyProtocol = "vit-token",
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> dict[str, Scores]:
    """Score maps of several methods by several metrics, computing every shared state once.

    Args:
        model: A classifier, or a stream around one (which brings its own batch size and seed).
        metrics: Names of perturbation metrics.
        pixels: (B, 3, H, W), as the classifier takes them.
        relevance: (M, B, rows, cols) on the patch grid, or (M, B, H, W); M methods.
        targets: A class, or one per image; None where the protocol follows the predicted class.
        protocol: Name, object or mapping.
        batch_size: Images per forward pass.
        seed: Of tie orders, random sets and noise.

    Returns:
        Scores by metric name.

    Raises:
        UsageError: For relevance, pixels or targets that do not fit, unknown names, and steps that the
            image does not have.
    """
    stream = as_stream(model, batch_size, seed)
    return run(stream, metrics, pixels, relevance, targets, protocol)[0]


def run(
    stream: Stream,
    metrics: Sequence[str],
    pixels: Tensor,
    relevance: Tensor,
    targets: Target,
    protocol: AnyProtocol,
) -> tuple[dict[str, Scores], Context]:
    """`evaluate`, with the context that says which classes were followed and how."""
    chosen = {name: perturbation_metric(name) for name in metrics}
    context = make_context(stream, pixels, relevance, targets, protocol)
    requests = {name: metric.requests(relevance, context) for name, metric in chosen.items()}
    joined = [request for asked in requests.values() for request in asked]
    answers = iter(stream.evaluate(context.pixels, context.targets, joined))
    scores = {
        name: metric.score([next(answers) for _ in requests[name]], relevance, context)
        for name, metric in chosen.items()
    }
    return scores, context


def as_stream(model: nn.Module | Stream, batch_size: int = 32, seed: int = 0) -> Stream:
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
    said = resolve(protocol)
    said.check_head(problem_type_of(stream.classifier))
    check_pixels(pixels)
    grid = _grid(stream.classifier, pixels, relevance, said)
    size = (pixels.shape[-2], pixels.shape[-1])
    check_relevance(relevance, len(pixels), (grid.rows, grid.cols), size)
    said.counts((grid.rows, grid.cols) if said.unit == "patch" else size)
    return Context(
        protocol=said,
        pixels=pixels,
        targets=find_targets(stream, pixels, targets, said),
        seeds=image_seeds(pixels, stream.seed),
        grid=grid,
    )


def _grid(model: nn.Module, pixels: Tensor, relevance: Tensor, protocol: Protocol) -> PatchGrid:
    """The model's patch grid; pixel maps under pixel protocols need none, and pixels stand in for it."""
    try:
        return grid_of(model, pixels)
    except ModelError:
        size = (pixels.shape[-2], pixels.shape[-1])
        if protocol.unit == "pixel" and getattr(relevance, "shape", ())[-2:] == size:
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
