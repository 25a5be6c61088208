"""Methods that read of the last layer what the classifier reads give the maps of the whole layer."""

from typing import Any

import pytest
import torch
from maskable import made
from torch import Tensor, nn
from vit_zoo import pixels

from xai.attention import ReadoutLayer, readout_layer
from xai.attr import METHODS, Chefer, GradientWeightedAttention, RawAttention, attribute_many, base, create
from xai.attr.recorded_attention import RecordedAttribution

FEW = {"integrated_mask_gradient": {"n_steps": 3}}
SHORT = ["integrated_mask_gradient"]
for name in METHODS:
    kind = METHODS[name]
    if issubclass(kind, RecordedAttribution) and not create(name, nn.Linear(1, 1)).every_row:
        SHORT.append(name)


def whole_and_short(
    monkeypatch: pytest.MonkeyPatch, run: Any, every: list[ReadoutLayer]
) -> tuple[Tensor, Tensor]:
    def spy(*args: Any) -> ReadoutLayer:
        every.append(readout_layer(*args))
        return every[-1]

    monkeypatch.setattr(base, "readout_layer", spy)
    short = run()
    monkeypatch.setattr(base, "readout_layer", lambda *_: ReadoutLayer(None))
    return run(), short


def test_which_methods_do() -> None:
    assert set(SHORT) == {
        "attention_guided_cam",
        "chefer",
        "daam",
        "grad_eclip",
        "gradient_weighted_attention",
        "integrated_mask_gradient",
        "mask_gradient",
        "raw_attention",
    }
    model = nn.Linear(1, 1)
    assert GradientWeightedAttention(model, rows="all").every_row
    assert not GradientWeightedAttention(model).every_row


@pytest.mark.parametrize("method", SHORT)
@pytest.mark.parametrize("name", ["clip", "deit", "dinov3", "torch_encoder"])
def test_maps_are_those_of_the_whole_layer(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, used = made(name), pixels(2), []
    chosen = create(method, model, **FEW.get(method, {}))
    whole, short = whole_and_short(monkeypatch, lambda: chosen.attribute_targets(x, [0, 2]), used)
    assert used
    assert all(layer.block is not None for layer in used)
    assert (short - whole).abs().max() <= 1e-5 * whole.abs().max()
    if chosen.info.layers:
        whole, short = whole_and_short(monkeypatch, lambda: chosen.attribute_layers(x, 1), used)
        assert (short - whole).abs().max() <= 1e-5 * whole.abs().max()


@pytest.mark.parametrize("path_over", ["layers_up", "layers_down"])
def test_one_layer_after_another(path_over: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, used = made("clip"), pixels(2), []
    chosen = create("integrated_mask_gradient", model, n_steps=2, path_over=path_over, internal_batch_size=4)
    whole, short = whole_and_short(monkeypatch, lambda: chosen.attribute_targets(x, [1]), used)
    assert used
    assert (short - whole).abs().max() <= 1e-5 * whole.abs().max()


def test_a_shared_record_is_whole_where_one_method_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, used = made("clip"), pixels(2), []
    few = {"raw": RawAttention(model), "chefer": Chefer(model)}
    many = few | {"rollout": create("attention_rollout", model)}
    for methods, expected in ((few, True), (many, False)):
        used.clear()
        alone = torch.stack([method.attribute_targets(x, [1]) for method in methods.values()])
        _, short = whole_and_short(
            monkeypatch, lambda m=methods: torch.stack(list(attribute_many(m, x, [1]).values())), used
        )
        assert bool(used) == expected
        assert (short - alone).abs().max() <= 1e-5 * alone.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, used = made("clip").to(dtype), pixels(1).to(dtype), []
    chosen = create("mask_gradient", model)
    whole, short = whole_and_short(monkeypatch, lambda: chosen.attribute_patches(x, 1).float(), used)
    assert used[0].block is not None
    assert (short - whole).abs().max() <= 0.1 * whole.abs().max()
