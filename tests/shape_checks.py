"""Checks of shapes at run time where annotations hold a shape; types alone are pyrefly's to check."""

from collections.abc import Callable
from typing import Any, get_args

import jaxtyping


def holds_shape(annotation: object) -> bool:
    """Whether a jaxtyping annotation stands somewhere in it."""
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(holds_shape, get_args(annotation)))


def checked_by_need(jaxtyped: Callable[..., Any]) -> Callable[..., Any]:
    """As `jaxtyping.jaxtyped`, which its import hook puts on every function, at half of the suite's cost.

    In an attribution a hundred calls without a shape come to one with; their types are pyrefly's to check.
    """

    def decorator(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
        whole = jaxtyped(typechecker=typechecker)

        def decorate(function: Any) -> Any:
            inner = getattr(function, "__func__", getattr(function, "fget", function))
            annotations = getattr(inner, "__annotations__", {})
            if isinstance(function, type) or any(map(holds_shape, annotations.values())):
                return whole(function)
            return function

        return decorate

    return decorator
