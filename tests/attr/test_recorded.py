"""Methods that read a record: shared passes, maps per layer and head."""

from dataclasses import replace

import pytest
import torch
from few_passes import OPTIONS
from vit_zoo import build, pixels

from xai.attr import METHODS, PatchAttribution, RecordedAttribution, attribute_many, create, resolve_layers
from xai.core import Margin, UsageError

RECORDED = [name for name, method in METHODS.items() if issubclass(method, RecordedAttribution)]


def counted(model: torch.nn.Module) -> list[int]:
    """Batch sizes of the model's forward passes."""
    passes: list[int] = []
    model.register_forward_pre_hook(lambda _, args: passes.append(len(args[0])))
    return passes


@pytest.mark.parametrize("family", ["clip", "siglip", "clip_mean_pooled"])
def test_many_methods_share_one_pass_and_give_what_each_gives_alone(family: str) -> None:
    model, x, targets = build(family), pixels(2), [1, Margin(0), [0, 2]]
    methods = {name: create(name, model) for name in RECORDED}
    methods["last"] = create("gradient_weighted_attention", model, layers="last_layer")
    alone = {name: method.attribute_targets(x, targets) for name, method in methods.items()}
    passes = counted(model)
    together = attribute_many(methods, x, targets)
    assert passes == [2]
    assert list(together) == list(methods)
    for name, expected in alone.items():
        torch.testing.assert_close(together[name], expected, msg=lambda m, n=name: f"{n}: {m}")


def test_methods_that_read_no_record_run_by_themselves() -> None:
    model, x = build("clip"), pixels(2)
    methods = {name: create(name, model) for name in ("chefer", "saliency", "center_prior", "raw_attention")}
    together = attribute_many(methods, x, [1])
    assert list(together) == list(methods)
    for name, method in methods.items():
        torch.testing.assert_close(together[name], method.attribute_targets(x, [1]))


def test_methods_of_two_models_are_refused() -> None:
    methods = {str(i): create("chefer", build("clip")) for i in range(2)}
    with pytest.raises(UsageError, match="different models"):
        attribute_many(methods, pixels(1), [0])


def test_maps_per_layer_and_head_add_up() -> None:
    model, x = build("clip"), pixels(2)
    method = create("mask_gradient", model)
    layers = method.attribute_layers(x, 1)
    assert layers.shape == (2, 6, 4, 4, 4)
    torch.testing.assert_close(layers.sum((1, 2)), method.attribute_patches(x, 1))
    raw = create("raw_attention", model, layers="all_layers")
    torch.testing.assert_close(raw.attribute_layers(x).mean((1, 2)), raw.attribute_patches(x))


LAYERED = [name for name, method in METHODS.items() if method.info.layers]


@pytest.mark.parametrize("name", LAYERED)
def test_maps_of_layers_make_the_map_as_the_method_says(name: str) -> None:
    method, x = create(name, build("clip"), **OPTIONS.get(name, {})), pixels()
    layers = method.attribute_layers(x, 1)
    assert layers.shape[-2:] == method.attribute_patches(x, 1).shape[-2:]
    if method.fusion is not None:
        assert layers.shape[1] == len(resolve_layers(method.fusion.layers, 6))
        torch.testing.assert_close(method.fusion.fuse(layers), method.attribute_patches(x, 1))
    assert method.of_all_layers().attribute_layers(x, 1).shape[1] == 6
    maps, free = method.attribute_with_layers(x, [1, 2])
    torch.testing.assert_close(maps, method.attribute_targets(x, [1, 2]))
    if free is not None:
        torch.testing.assert_close(free[0], layers)


@pytest.mark.parametrize("name", sorted(set(METHODS) - set(LAYERED)))
def test_a_method_without_maps_of_layers_says_so(name: str) -> None:
    method = create(name, build("clip"))
    assert method.fusion is None
    with pytest.raises(UsageError, match=f"{name} has no maps per layer and head"):
        method.attribute_layers(pixels(1), 0)


@pytest.mark.parametrize(
    ("base", "hook"), [(PatchAttribution, "_layer_maps"), (RecordedAttribution, "_heads")]
)
def test_a_method_that_claims_maps_of_layers_has_to_make_them(base: type, hook: str) -> None:
    class Claims(base):
        info = replace(METHODS["mask_gradient"].info, name="claims")

        def _relevance(self, pixels, targets, args):
            raise AssertionError

        def _tokens(self, record):
            raise AssertionError

    with pytest.raises(UsageError, match=rf"Claims says that it has maps[\s\S]*{hook}, or say layers=False"):
        Claims(build("clip")).attribute_layers(pixels(1), 1)
