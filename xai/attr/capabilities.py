"""Which methods work on a model, found by trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from xai.attr.registry import METHODS, create, list_methods
from xai.core import ModelError
from xai.core.catalogue import ModelNeed


@dataclass(frozen=True)
class Capabilities:
    """What a model offers to methods.

    Args:
        refusals: Registered method → why it cannot explain the model, None where it can.
    """

    refusals: Mapping[str, ModelError | None]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that work, as `list_methods` orders them."""
        return tuple(name for name, refusal in self.refusals.items() if refusal is None)

    def refusal(self, need: ModelNeed) -> ModelError | None:
        """Why no method works that needs this; None where one does."""
        found = [refusal for name, refusal in self.refusals.items() if METHODS[name].info.needs == need]
        return None if None in found else next(iter(found), None)


def find_capabilities(model: nn.Module, pixels: Tensor, args: Any = None) -> Capabilities:
    """Let every method look at the model, with one image; those that ask the same share the answer.

    Args:
        model: A classifier.
        pixels: (1, 3, H, W).
        args: Passed to the model after the pixels.

    Raises:
        ModelError: The model does not answer, or not twice alike.
    """
    create("occlusion", model).check_needs(pixels, args)
    answers: dict[Any, ModelError | None] = {}
    refusals: dict[str, ModelError | None] = {}
    for info in list_methods():
        question = info.needs, METHODS[info.name]._check_needs
        if question not in answers:
            try:
                create(info.name, model).check_needs(pixels, args)
                answers[question] = None
            except ModelError as error:
                answers[question] = error
        refusals[info.name] = answers[question]
    return Capabilities(refusals)


def check_need(model: nn.Module, need: ModelNeed, pixels: Tensor) -> None:
    """Try whether a model offers this, with the first method that needs just that.

    Raises:
        ModelError: It does not.
    """
    name = next(info.name for info in list_methods() if info.needs == need)
    create(name, model).check_needs(pixels)
