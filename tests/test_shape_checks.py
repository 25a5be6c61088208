"""What the suite checks at run time of annotations in `xai.attention` and `xai.attr`."""

import jaxtyping
import pytest
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError
from shape_checks import holds_shape
from torch import Tensor

from xai.attr.captum_classes import Attribution
from xai.attr.inputs import like_inputs, spread_patches
from xai.attr.registry import create


def test_shapes_are_checked_where_they_are_annotated() -> None:
    with pytest.raises(TypeCheckError):
        spread_patches(torch.zeros(2, 3), torch.zeros(1, 3, 8, 8))
    with pytest.raises(TypeCheckError):
        like_inputs(torch.zeros(1, 3, 8, 8), torch.zeros(1, 2))


def test_functions_without_a_shape_are_as_they_are_written() -> None:
    assert not hasattr(create, "__wrapped__") and hasattr(spread_patches, "__wrapped__")


def test_one_size_has_one_length_in_a_call() -> None:
    @jaxtyping.jaxtyped(typechecker=beartype)
    def same(a: Float[Tensor, "b n"], b: Float[Tensor, "b n"]) -> None: ...

    same(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(TypeCheckError):
        same(torch.zeros(1, 2), torch.zeros(1, 3))


def test_a_shape_is_found_inside_other_types() -> None:
    shape = Float[Tensor, "b n"]
    assert all(map(holds_shape, (shape, shape | None, tuple[shape, ...], dict[str, list[shape]])))
    assert not any(map(holds_shape, (Tensor, Attribution, None, "later", tuple[int, ...])))
