"""Many variants of each image through the model, in batches that cross images."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xai.core import problem_type_of
from xai.core.target import EXCLUSIVE, Target, class_log_odds, score

VALUES = ("probability", "log_odds", "logit")

Forward = Callable[[Tensor, Tensor], Any]  # (S,) image, (S,) variant → (S, C) logits


def batches(
    images: int, variants: int, batch_size: int
) -> Iterator[tuple[Int[Tensor, "s"], Int[Tensor, "s"]]]:
    """All pairs (image, variant), images outermost, at most `batch_size` pairs at a time."""
    for start in range(0, images * variants, batch_size):
        flat = torch.arange(start, min(start + batch_size, images * variants))
        yield flat // variants, flat % variants


def variant_scores(
    forward: Forward, images: int, variants: int, targets: Sequence[Target], batch_size: int
) -> Float[Tensor, "targets b variants"]:
    """Scores of every variant of every image, without gradients; the forward passes serve all targets.

    Args:
        forward: Logits (S, C) of the variants (S,) of the images (S,).
        images: Number of images.
        variants: Number of variants of each.
        targets: For the images, in any of the forms that `attribute` takes.
        batch_size: Images per forward pass.
    """
    found = []
    with torch.no_grad():
        for image, variant in batches(images, variants, batch_size):
            logits = forward(image, variant)
            if not found:
                check_targets(logits, targets, images)
            found.append(accurate(logits))
    every = torch.arange(images).repeat_interleave(variants)
    logits = torch.cat(found)
    return torch.stack([score(logits, targets_of(t, every)).view(images, variants) for t in targets])


def accurate(x: Tensor) -> Tensor:
    """At least single precision."""
    return x if x.dtype == torch.float64 else x.float()


def check_targets(logits: Any, targets: Sequence[Target], images: int) -> None:
    """Raise the error that a batch of `images` images with such logits would raise."""
    if isinstance(logits, Tensor):
        logits = logits.detach()[:1].expand(images, *logits.shape[1:])
    for target in targets:
        score(logits, target)


def targets_of(target: Target, image: Int[Tensor, "s"]) -> Target:
    """The target of the given images, where the batch has one for each."""
    return [target[i] for i in image.tolist()] if isinstance(target, list) else target


def arguments_of(args: tuple[Any, ...], image: Int[Tensor, "s"], images: int) -> tuple[Any, ...]:
    """The further arguments of the given images, where they are tensors with a row for each image."""
    return tuple(
        a[image.to(a.device)] if isinstance(a, Tensor) and a.dim() and len(a) == images else a for a in args
    )


def class_values(logits: Any, value: str, model: nn.Module | None = None) -> Any:
    """Probability, log-odds or logit of every class; what is no tensor passes, as `score` refuses it.

    The model says whether its classes exclude each other (softmax, also without a model) or are independent
    labels (sigmoid). A single logit is that of a yes: its probability is the logistic function of it, its
    log-odds itself.
    """
    if value == "logit" or not isinstance(logits, Tensor):
        return logits
    problem_type = EXCLUSIVE if model is None else problem_type_of(model)
    if value == "probability":
        return problem_type.probabilities(accurate(logits))
    return class_log_odds(accurate(logits), problem_type)
