"""All attention between image and logits is counted; what is not recorded is named, heads are understood."""

import json
import pickle

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from plain_vit import DEPTH, WIDTH, Block, Pyramid, TinyViT, images
from torch import nn

import xai
from xai import attr
from xai.attention import UnseenAttentionError, probe, record_attention
from xai.core import ModelError, PatchGrid
from xai.explanation import examine

GRID = PatchGrid(4, 4, 1)
LABELS = ["real", "fake"]


def mixed() -> TinyViT:
    model = TinyViT()
    model.blocks[0].eager = True
    return model


@pytest.mark.parametrize(
    ("make", "grid", "said"),
    [
        (Pyramid, GRID, r"Only 3 of 5 .*2 × 5×5"),
        (Pyramid, PatchGrid(2, 2, 1), r"Only 2 of 5 .*3 × 17×17"),
        (mixed, GRID, r"Only 2 of 3 .*1 × 17×17 by softmax and matmul"),
        (lambda: TinyViT(eager=True), GRID, "no call of scaled_dot_product_attention.*3 attention layers"),
    ],
)
@pytest.mark.parametrize("method", ["raw_attention", "attention_rollout", "integrated_mask_gradient"])
def test_attention_that_is_not_recorded_is_counted(make, grid, said, method) -> None:
    classifier = xai.load(make(), LABELS, grid=grid)
    with pytest.raises(UnseenAttentionError, match=said) as caught:
        attr.create(method, classifier).attribute_patches(images(), target=1)
    assert "--method integrated_gradients" in str(caught.value)
    assert "occlusion" in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - a worker hands it over
    assert (str(again), again.layers) == (str(caught.value), caught.value.layers)


def test_examine_says_how_much_it_saw() -> None:
    found = examine(xai.load(Pyramid(), LABELS))
    assert found["attention_seen"] == "3 of 5"
    kinds = found["methods"]
    assert kinds["pixel_gradients"] and kinds["perturbation"]
    assert not kinds["global_attention"] and not kinds["read_out_token"]
    assert (
        "3 of 5" in found["refused"]["global_attention"] and found["default_method"] not in found["refused"]
    )
    assert found["parity"] == {}
    assert found["last_layer_for_the_read_out_only"].startswith("no: Only 3 of 5 attention layers")
    assert json.dumps(found)
    whole = examine(xai.load(TinyViT(), LABELS))
    assert whole["attention_seen"] == "3 of 3"
    assert whole["methods"]["attention"] is True
    assert whole["last_layer_for_the_read_out_only"] == "yes"
    assert whole["batch"] < 1e-5
    assert whole["running"] == {
        "training": [], "compiled": [], "checkpointing": [], "graph": False, "repeatable": True
    }  # fmt: skip


def test_windows_in_the_batch_are_no_images() -> None:
    config = hf.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=2, num_labels=2
    )
    classifier = xai.load(hf.SwinForImageClassification(config).eval(), LABELS, grid=(2, 2))
    for name in ("raw_attention", "attention_rollout"):
        method = attr.create(name, classifier)
        with pytest.raises(UnseenAttentionError, match=r"none of the 2 attention calls .* 1 image"):
            method.attribute_patches(images(3), target=1)
    with pytest.raises(ModelError, match="none of the 2"), record_attention(classifier, tokens=4, images=3):
        classifier(images(3))


class Pooled(TinyViT):
    """Heads that pool the tokens with fewer queries, fused or in the open, over all tokens or the patches."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.query = kind, nn.Parameter(torch.randn(1, 1, 2, WIDTH))

    def forward(self, pixels):
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        keys = (x if "all" in self.kind else x[:, 1:])[:, None]
        query = self.query.expand(len(x), -1, -1, -1)
        if "fused" in self.kind:
            pooled = F.scaled_dot_product_attention(query, keys, keys)
        else:
            pooled = (query @ keys.transpose(-1, -2)).softmax(-1) @ keys
        return self.head(pooled.mean((1, 2)))


@pytest.mark.parametrize("kind", ["fused all", "fused patches", "eager all", "eager patches"])
def test_a_pooling_head_is_understood(kind) -> None:
    seen = probe(Pooled(kind), images(1), (), GRID)
    assert seen.layers == DEPTH + (kind == "fused all")
    assert seen.pooling == (kind == "fused all")
    assert seen.calls == seen.layers
    assert seen.rows == tuple(range(1, 17)) or seen.rows == (0,)


class ClassAttention(Pooled):
    """Two layers of class attention at the end, as CaiT has them."""

    def forward(self, pixels):
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        token = x[:, None, :1]
        for _ in range(2):
            token = token + F.scaled_dot_product_attention(token, x[:, None], x[:, None])
        return self.head(token[:, 0, 0])


def test_layers_of_class_attention_are_refused() -> None:
    for name in ("raw_attention", "chefer", "attention_rollout"):
        method = attr.create(name, xai.load(ClassAttention("fused all"), LABELS))
        with pytest.raises(UnseenAttentionError, match="2 attention layers .* other queries"):
            method.attribute_patches(images(), target=1)


def test_attention_that_does_not_read_the_image_is_not_counted() -> None:
    class WithTexts(TinyViT):
        def __init__(self):
            super().__init__()
            self.words, self.text = nn.Parameter(torch.randn(2, 9, WIDTH)), Block(eager=True)
            self.fused = Block()
            self.eval()

        def forward(self, pixels):
            return super().forward(pixels) + self.fused(self.text(self.words)).mean((1, 2))

    assert probe(WithTexts(), images(1), (), GRID).layers == DEPTH


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_backbone_is_counted_too(frozen) -> None:
    class Frozen(Pyramid):
        def forward(self, pixels):
            with torch.set_grad_enabled(not frozen):
                return super().forward(pixels)

    with pytest.raises(UnseenAttentionError, match="Only 2 of 5"):
        probe(Frozen(), images(1), (), PatchGrid(2, 2, 1))
    assert torch.is_grad_enabled()


def test_advice_on_eager_attention_is_given_where_it_can_be_followed() -> None:
    config = {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "num_labels": 2}
    pool = xai.load(
        hf.PoolFormerForImageClassification(hf.PoolFormerConfig(**config)).eval(), LABELS, grid="2x2"
    )
    with pytest.raises(ModelError, match="it has no attention") as caught:
        attr.create("raw_attention", pool).attribute_patches(images(), target=1)
    assert "set_attn_implementation" not in str(caught.value)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    vit = hf.ViTForImageClassification(
        hf.ViTConfig(image_size=32, patch_size=8, num_labels=2, **small)
    ).eval()
    vit.set_attn_implementation("eager")
    with pytest.raises(ModelError, match=r'set_attn_implementation\("sdpa"\)'):
        attr.create("raw_attention", xai.load(vit, LABELS)).attribute_patches(images(), target=1)


def test_a_folder_that_asks_for_eager_attention_is_loaded_fused(tmp_path) -> None:
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = hf.ViTForImageClassification(
        hf.ViTConfig(image_size=32, patch_size=8, num_labels=2, **small)
    ).eval()
    model.save_pretrained(tmp_path)
    hf.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"attn_implementation": "eager"}))
    classifier = xai.load(f"local:{tmp_path}")
    assert "eager" in classifier.describe()["attention_implementation"]
    got = attr.create("raw_attention", classifier).attribute_patches(images(), target=1)
    expected = attr.create("raw_attention", xai.load(model, LABELS)).attribute_patches(images(), target=1)
    torch.testing.assert_close(got, expected)
