"""Methods, metrics and operators of the user's own modules, by `module:Class`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from plain_vit import TinyViT

from xai.attr import METHODS, Saliency, create, list_methods, resolve_method
from xai.core import UsageError
from xai.metrics import METRICS, evaluate
from xai.perturb import OPERATORS, make_operator, operator_of

CODE = """
from dataclasses import dataclass, replace
from typing import ClassVar

from xai.attr import MethodInfo, PatchAttribution, Saliency
from xai.metrics import MetricInfo, PerturbationMetric, register
from xai.metrics.base import RawScores
from xai.metrics.curves import Deletion
from xai.perturb import Mean, Operator, PixelOperator


class Ones(PatchAttribution):
    info = MethodInfo(
        name="ones", family="control", class_sensitive=False, signed=False, forwards=0, backwards=0,
        reference="none", summary="One everywhere.",
    )

    def __init__(self, forward_func, height: float = 1.0):
        super().__init__(forward_func)
        self.height = height

    def _relevance(self, pixels, targets, args):
        grid = self._grid(pixels)
        return pixels.new_full((len(targets), len(pixels), grid.rows, grid.cols), self.height)


class Nameless(PatchAttribution):
    pass


class Empty(PatchAttribution):
    info = Ones.info


class Taken(Ones):
    info = Saliency.info


@register(MetricInfo(
    name="largest", higher_is_better=True, range=(None, None), reference="none", summary="The maximum.",
    needs="map", against_random=False,
))
def largest(relevance):
    return relevance.flatten(1).amax(1)


def lost(relevance):
    return relevance


class FirstHalf(Deletion):
    info = replace(Deletion.info, name="first_half")

    def intervals(self, context):
        return super().intervals(context)[: len(context.counts) // 2]

    def _score(self, values, clean, relevance, context):
        removed = values[0].reshape(len(relevance), -1, len(context.counts) // 2)
        return RawScores(removed.mean(-1), removed.amax(-1) - removed.amin(-1))


class Unfinished(PerturbationMetric):
    info = replace(Deletion.info, name="unfinished")


@dataclass(frozen=True)
class Black(Mean):
    name: ClassVar[str] = "all_black"

    def prepare(self, classifier, pixels, seeds):
        return pixels.new_zeros(()).expand_as(pixels)


class Vague(Operator):
    name = "vague"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "foreign_code.py").write_text(CODE)
    yield tmp_path
    sys.modules.pop("foreign_code", None)
    for registry in (METHODS, METRICS, OPERATORS):
        for path, name in list(registry._import_paths.items()):
            del registry._import_paths[path], registry._entries[name]
    METRICS._entries.pop("largest", None)


def test_a_method_is_made_by_its_path_and_by_its_name(folder: Path) -> None:
    assert METHODS.resolve("foreign_code:Ones", trusted=True, folder=folder) == "ones"
    model = TinyViT()
    pixels = torch.rand(1, 3, 32, 32)
    for name in ("ones", "foreign_code:Ones"):
        maps = create(name, model, height=2).attribute_patches(pixels)
        assert bool((maps == 2).all())
    assert resolve_method("foreign_code:Ones", {}) == ("ones", {})
    assert "ones" in [info.name for info in list_methods()]
    with pytest.raises(UsageError, match="Method 'ones': height='tall' is not understood"):
        create("ones", model, height="tall")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nameless", "has no `info`"),
        ("Empty", "does not implement _relevance"),
        ("Taken", "'saliency' is registered already"),
        ("CODE", "foreign_code has no CODE"),
        ("largest", "is no subclass of xai.attr.PatchAttribution"),
    ],
)
def test_what_a_method_lacks_is_said(name: str, message: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=message):
        METHODS.resolve(f"foreign_code:{name}", trusted=True, folder=folder)
    assert METHODS["saliency"] is Saliency


def test_a_method_is_not_imported_by_asking_for_it(folder: Path) -> None:
    with pytest.raises(UsageError, match="names code that was not imported"):
        create("foreign_code:Ones", TinyViT())
    assert "foreign_code" not in sys.modules


def test_a_metric_is_a_registered_function(folder: Path) -> None:
    assert METRICS.resolve("foreign_code:largest", trusted=True, folder=folder) == "largest"
    function = METRICS["foreign_code:largest"].function
    assert function is not None and function(torch.tensor([[[1.0, 3.0]]])).tolist() == [3]
    with pytest.raises(UsageError, match="foreign_code:lost is no metric"):
        METRICS.resolve("foreign_code:lost", trusted=True, folder=folder)


def test_a_metric_of_perturbed_images_is_a_class(folder: Path) -> None:
    assert METRICS.resolve("foreign_code:FirstHalf", trusted=True, folder=folder) == "first_half"
    model, x = TinyViT(), torch.rand(1, 3, 32, 32)
    relevance = torch.rand(1, 1, 4, 4)
    both = evaluate(
        model, ["deletion", "first_half"], x, relevance, protocol={"base": "vit-mean", "steps": 4}
    )
    curve = both["deletion"].curve
    assert curve is not None
    torch.testing.assert_close(both["first_half"].value, curve[..., :2].mean(-1))
    function = METRICS["first_half"].function
    assert function is not None
    alone = function(model, x, relevance[0], protocol={"base": "vit-mean", "steps": 4})
    torch.testing.assert_close(alone, both["first_half"].value[0])
    with pytest.raises(UsageError, match="does not implement _requests and _score"):
        METRICS.resolve("foreign_code:Unfinished", trusted=True, folder=folder)


def test_an_operator_is_made_by_its_path_and_by_its_name(folder: Path) -> None:
    assert OPERATORS.resolve("foreign_code:Black", trusted=True, folder=folder) == "all_black"
    assert make_operator("foreign_code:Black").describe() == {"name": "all_black"}
    assert operator_of({"name": "all_black"}) == make_operator("foreign_code:Black")
    with pytest.raises(UsageError, match="does not implement logits and prepare"):
        OPERATORS.resolve("foreign_code:Vague", trusted=True, folder=folder)
