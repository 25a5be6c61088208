"""What it means to remove evidence: the contract of all operators, and those by name."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from xai.core import Registry, UsageError, nearest
from xai.core.options import checked
from xai.perturb.ranks import image_seeds


@dataclass(frozen=True)
class Operator(ABC):
    """Removes units of an image, patches or pixels. Its fields are its parameters, JSON-ready."""

    name: ClassVar[str]
    batched_by_size: ClassVar[bool] = False
    """Whether states that remove equally much are best computed together."""

    def describe(self) -> dict[str, Any]:
        """Name and parameters, JSON-ready."""
        return {"name": self.name, **asdict(self)}

    @property
    def passes(self) -> int:
        """Forward passes per state, at most."""
        return 1

    @property
    def image_passes(self) -> int:
        """Forward passes that the baseline of an image takes, at most."""
        return 0

    def gains_by_size(self, classifier: nn.Module, pixels: Tensor) -> bool:
        """Whether that is so of this classifier, given pixels (B, 3, H, W)."""
        return self.batched_by_size

    @abstractmethod
    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor | None:
        """The baseline: the pixels that take the place of what is removed, computed once per image.

        Args:
            classifier: The model that will be asked.
            pixels: (B, 3, H, W), normalised.
            seeds: One per image, see `image_seeds`.

        Returns:
            (B, 3, H, W), possibly an expanded view; None where nothing takes its place.
        """

    @abstractmethod
    def logits(
        self, classifier: nn.Module, pixels: Tensor, baseline: Tensor | None, removed: Tensor, seeds: Tensor
    ) -> Tensor:
        """The model's logits with patches or pixels removed.

        Args:
            classifier: Pixels in, logits out.
            pixels: (S, 3, H, W), the image of every state.
            baseline: (S, 3, H, W), from `prepare`.
            removed: (S, rows, cols) bool on the patch grid, or (S, H, W) on pixels.
            seeds: (S,) long, the image's seed of every state.

        Returns:
            (S, classes).
        """


def _enter(foreign: Any) -> str:
    """Register an operator of foreign code, unless its module did."""
    if not (isinstance(foreign, type) and issubclass(foreign, Operator)):
        raise UsageError("is no subclass of xai.perturb.Operator.", "Derive the operator from it.")
    if not isinstance(getattr(foreign, "name", None), str):
        raise UsageError("has no `name`.", 'Set it in the class: name: ClassVar[str] = "…".')
    if inspect.isabstract(foreign):
        missing = " and ".join(sorted(foreign.__abstractmethods__))
        raise UsageError(f"does not implement {missing}.", "Write it, or derive from an operator that does.")
    if OPERATORS.registered.get(foreign.name) is not foreign:
        register(foreign)
    return foreign.name


AnyOperator = str | Mapping[str, Any] | Operator  # a name, a mapping with a name and parameters, or itself
OPERATORS: Registry[type[Operator]] = Registry("operator", "xai.operators", _enter)
Kind = TypeVar("Kind", bound=Operator)


def register(operator: type[Kind]) -> type[Kind]:
    """Class decorator: enter an operator under its name; its parameters are checked by their types."""
    operator.__init__ = checked(operator.__init__, f"Operator {operator.name!r}")
    OPERATORS.add(operator.name)(operator)
    return operator


def make_operator(name: str, /, **params: Any) -> Operator:
    """Make an operator by name.

    Raises:
        UsageError: For an unknown name or parameter; the nearest valid one is named.
    """
    return _made(OPERATORS, name, params)


def operator_of(given: object) -> Operator:
    """An operator from a name, a mapping of name and parameters, or itself.

    Raises:
        UsageError: It is none of these, or see `make_operator`.
    """
    return chosen(OPERATORS, Operator, given)


def chosen(registry: Registry[type[Any]], kind: type[Any], given: object) -> Any:
    """One of a registry's classes, made: from a name, a mapping of name and parameters, or as it is.

    Args:
        registry: Of classes that their parameters make.
        kind: Their base; what is one already is given back.
        given: See above.

    Raises:
        UsageError: It is none of these, or a name or parameter is unknown; the nearest valid one is named.
    """
    if isinstance(given, kind):
        return given
    if isinstance(given, str):
        return _made(registry, given, {})
    if isinstance(given, Mapping) and isinstance(given.get("name"), str):
        return _made(registry, given["name"], {str(k): v for k, v in given.items() if k != "name"})
    raise UsageError(
        f"{given!r} is no {registry.kind}.", "Give a name, or a mapping with a name and parameters."
    )


def _made(registry: Registry[type[Any]], name: str, params: Mapping[str, Any]) -> Any:
    made = registry[name]
    valid = list(inspect.signature(made).parameters)
    for param in params:
        if param not in valid:
            hint = nearest(param, valid) if valid else "It has none."
            raise UsageError(f"{registry.kind.capitalize()} {name!r} has no parameter {param!r}.", hint)
    return made(**params)


@torch.no_grad()
def baseline_images(operator: Operator, classifier: nn.Module, pixels: Tensor, seed: int) -> Tensor:
    """The images with all of their pixels removed by an operator, (B, 3, H, W).

    Raises:
        UsageError: The operator paints nothing.
    """
    baseline = operator.prepare(classifier, pixels, image_seeds(pixels, seed))
    if baseline is None:
        raise UsageError(
            f"The operator {operator.name!r} paints nothing that an image could fade into.",
            "Use a colour, blur or noise; integrated_mask_gradient starts where patches are masked.",
        )
    return baseline


class PixelOperator(Operator):
    """Removed pixels are replaced by the baseline's."""

    def logits(
        self, classifier: nn.Module, pixels: Tensor, baseline: Tensor | None, removed: Tensor, seeds: Tensor
    ) -> Tensor:
        if baseline is None:
            raise UsageError(f"Operator {self.name!r} needs the baseline that prepare() returns.")
        removed = on_pixels(removed, (pixels.shape[-2], pixels.shape[-1]))
        # a quarter of torch.where's time on CPUs, and exact at weights of 0 and 1
        return classifier(torch.lerp(pixels, baseline, removed[:, None].to(pixels.dtype)))


def on_pixels(removed: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest upsampling of (S, rows, cols) to (S, height, width)."""
    (height, width), (rows, cols) = size, removed.shape[1:]
    if (rows, cols) == (height, width):
        return removed
    if height % rows == 0 and width % cols == 0:
        blocks = removed[:, :, None, :, None]
        return blocks.expand(-1, -1, height // rows, -1, width // cols).reshape(-1, height, width)
    row = torch.arange(height, device=removed.device) * rows // height
    col = torch.arange(width, device=removed.device) * cols // width
    return removed.index_select(1, row).index_select(2, col)
