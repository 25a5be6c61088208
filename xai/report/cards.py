"""Saliency cards from what a method says of itself; the same for every kind of page."""

from collections.abc import Iterable
from typing import Protocol

from xai.core.language import gettext
from xai.report.payload import Card, Measurement

MANY = 10  # passes from which on a method is one that asks again and again


class About(Protocol):
    """What `xai.attr.MethodInfo` says of a method."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def class_sensitive(self) -> bool: ...
    @property
    def signed(self) -> bool: ...
    @property
    def deterministic(self) -> bool: ...
    @property
    def forwards(self) -> int: ...
    @property
    def backwards(self) -> int: ...
    @property
    def reference(self) -> str: ...
    @property
    def summary(self) -> str: ...


def card_of(about: About, measured: Iterable[Measurement] = ()) -> Card:
    """The card of a method.

    Args:
        about: What it says of itself.
        measured: What was measured about it.
    """
    return Card(
        method=about.name,
        summary=gettext(about.summary),
        reference=about.reference,
        class_sensitive=about.class_sensitive,
        signed=about.signed,
        deterministic=about.deterministic,
        needs=_needs(about),
        forwards=about.forwards,
        backwards=about.backwards,
        measured=list(measured),
    )


def _needs(about: About) -> list[str]:
    """What it takes of the model, in words."""
    if about.family == "control":
        return [gettext("nothing of the model")]
    needs = [gettext("attention")] if about.family == "attention" else []
    if about.backwards:
        needs.append(gettext("gradients"))
    if not needs:
        needs.append(gettext("outputs of the model alone"))
    if about.forwards >= MANY:
        needs.append(gettext("many passes per image"))
    return needs
