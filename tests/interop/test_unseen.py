"""timm models of which a part of the attention cannot be recorded: counted, named, never half explained."""

import pytest
import torch

import xai
from xai import attr
from xai.attention import UnseenAttentionError
from xai.core import ModelError
from xai.explanation import examine

timm = pytest.importorskip("timm")
pytestmark = pytest.mark.interop
LABELS = ["real", "fake"]


def made(name: str, **options):
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, num_classes=2, **options).eval()


@pytest.mark.parametrize(
    ("name", "options", "grid", "said"),
    [
        ("pit_ti_224", {}, None, r"Only 6 of 12 .*4 × 50×50, 2 × 730×730"),
        ("cait_xxs24_224", {"depth": 3}, None, r"Only 2 of 5 .*3 × 196×196 by softmax"),
        ("xcit_nano_12_p16_224", {"depth": 2}, None, r"Only 2 of 4 .*by softmax"),
        ("convit_tiny", {"depth": 3}, None, "attention layers of its own"),
        ("pvt_v2_b0", {}, "7x7", "other queries than the 49"),
        ("nest_tiny", {}, None, "An attention call has shape"),
        ("swin_tiny_patch4_window7_224", {"depths": (1, 1)}, "7x7", "made no call|none of the"),
    ],
)
def test_partly_seen_attention_is_refused(name, options, grid, said) -> None:
    size = 224
    classifier = xai.load(made(name, **options), LABELS, grid=grid)
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    for method in ("raw_attention", "chefer"):
        with pytest.raises(UnseenAttentionError, match=said) as caught:
            attr.create(method, classifier).attribute_patches(pixels, target=1)
        assert "integrated_gradients" in str(caught.value)


def test_doctor_counts_the_layers_of_a_hierarchical_model() -> None:
    found = examine(xai.load(made("pit_ti_224"), LABELS))
    assert found["attention_seen"] == "6 of 12"
    assert found["methods"]["attention"] and not found["methods"]["global_attention"]


def test_a_flag_for_checkpointing_in_eval_mode_changes_no_map() -> None:
    model = made("vit_tiny_patch16_224", depth=2, embed_dim=48)
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    method = attr.create("gradient_weighted_attention", xai.load(model, LABELS), layers="all_layers")
    plain = method.attribute_patches(pixels, target=1)
    model.set_grad_checkpointing()
    torch.testing.assert_close(method.attribute_patches(pixels, target=1), plain)
    assert model.grad_checkpointing is True


def test_stochastic_depth_in_training_mode_is_refused() -> None:
    model = made("vit_tiny_patch16_224", depth=2, embed_dim=48, drop_path_rate=0.2).train()
    pixels = torch.zeros(1, 3, 224, 224)
    with pytest.raises(ModelError, match=r"model\.eval\(\)"):
        attr.create("saliency", xai.load(model, LABELS)).attribute_patches(pixels, target=1)
