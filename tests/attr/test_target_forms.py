"""Captum's forms of a target, once for every piece of code that is handed one.

Most methods share their base class's way from a target to its score. Methods are tested alike here when the
same functions of their classes take a target; a new method joins such a group, or is tested by itself.
"""

from collections.abc import Iterator
from inspect import getattr_static, isfunction, signature, unwrap

import pytest
import torch
from few_passes import OPTIONS
from torch import Tensor
from vit_zoo import build, pixels

from xai.attr import METHODS, PatchAttribution, create
from xai.core import Margin, UsageError

FORMS = (1, torch.tensor(1), torch.tensor([1]), torch.tensor([1, 1]), [1, 1], (1,), [(1,), (1,)])
WRONG = (3, -1, True, [0], torch.tensor([0.5, 0.5]), "fake", Margin(7))


def takes_a_target(method: type[PatchAttribution]) -> Iterator[object]:
    """The functions of the class, wherever inherited from, that take one target or several."""
    for name in dir(method):
        function = unwrap(getattr_static(method, name)) if callable(getattr(method, name)) else None
        if isfunction(function) and {"target", "targets"} & signature(function).parameters.keys():
            yield function


def one_of_each() -> list[str]:
    groups: dict[object, str] = {}
    for name, method in METHODS.items():
        groups.setdefault((frozenset(takes_a_target(method)), method.info.class_sensitive), name)
    return list(groups.values())


@pytest.fixture(params=one_of_each())
def method(request: pytest.FixtureRequest) -> PatchAttribution:
    return create(request.param, build("clip"), **OPTIONS.get(request.param, {}))


def test_every_form_means_the_same(method: PatchAttribution) -> None:
    maps = method.attribute_targets(pixels(), FORMS)
    torch.testing.assert_close(maps, maps[:1].expand_as(maps))
    torch.testing.assert_close(method.attribute_patches(pixels(), (1,)), maps[0])


def test_wrong_targets_are_told(method: PatchAttribution) -> None:
    for target in WRONG:
        if method.info.forwards == 0:  # never calls the model, so it cannot know its classes
            assert isinstance(method.attribute(pixels(), target=target), Tensor)
            continue
        with pytest.raises(UsageError):
            method.attribute(pixels(), target=target)


def test_methods_that_share_the_code_are_tested_once() -> None:
    names = one_of_each()
    assert "attention_rollout" not in names  # as raw attention
    assert {"raw_attention", "gradient_weighted_attention", "attn_lrp", "rise", "saliency"} <= set(names)
    assert len(names) < len(METHODS)
