"""What weights do not say, and weights that do not fit: heads, options, left-over keys."""

import pytest
import tiny_models as tiny
import torch
import transformers as hf
from checkpoints import assert_equal, write
from safetensors.torch import save_file
from torch import nn

import xai
from xai.core import ConfigError, ModelError
from xai.models.clip import read_clip_config
from xai.models.tower import TowerOptions


def mlp(*layers: nn.Module) -> nn.Module:
    return tiny.randomize(nn.Sequential(*layers), seed=4)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_mlp_head(tmp_path, activation):
    head = mlp(nn.Linear(64, 16), activation(), nn.Dropout(0.3), nn.Linear(16, 8), nn.Linear(8, 2))
    detector = tiny.BenchDetector(tiny.clip_tower(), head)
    said = f"head_activation: {activation.__name__.lower()}"
    assert_equal(xai.load(write(tmp_path, detector.state_dict(), said)), detector)


def test_mlp_head_must_say_its_activation(tmp_path):
    head = mlp(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))
    state = tiny.BenchDetector(tiny.clip_tower(), head).state_dict()
    with pytest.raises(ConfigError, match="head_activation: one of relu"):
        xai.load(write(tmp_path, state))
    with pytest.raises(ConfigError, match="Did you mean 'relu'"):
        xai.load(write(tmp_path, state, "head_activation: relo"))


def test_head_with_batch_norm_is_refused(tmp_path):
    head = mlp(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    state = tiny.BenchDetector(tiny.clip_tower(), head).state_dict()
    with pytest.raises(ModelError, match=r"more than Linear layers[\s\S]*factory"):
        xai.load(write(tmp_path, state, "head_activation: relu"))


def test_options_that_weights_cannot_say(tmp_path):
    tower = tiny.clip_tower(num_attention_heads=4, hidden_act="gelu")
    detector = tiny.BenchDetector(tower, normalize=True)
    said = ["num_attention_heads: 4", "hidden_act: gelu", "normalize_features: true"]
    classifier = xai.load(write(tmp_path, detector.state_dict(), *said))
    assert_equal(classifier, detector)
    assert classifier.describe()["heads"] == 4
    assert classifier.describe()["hidden_act"] == "gelu"


def test_heads_that_cannot_be_known_are_asked_for(tmp_path):
    state = tiny.BenchDetector(tiny.clip_tower(hidden_size=32), nn.Linear(32, 2)).state_dict()
    with pytest.raises(ModelError, match="num_attention_heads: N"):
        xai.load(write(tmp_path, state))
    with pytest.raises(ModelError, match="do not divide"):
        xai.load(write(tmp_path, state, "num_attention_heads: 5"))


def test_bf16_checkpoint_keeps_its_dtype(tmp_path):
    detector = tiny.BenchDetector(tiny.clip_tower()).bfloat16()
    classifier = xai.load(write(tmp_path, detector.state_dict()))
    assert classifier.dtype == torch.bfloat16
    with torch.no_grad():
        torch.testing.assert_close(classifier(tiny.pixels()), detector(tiny.pixels().bfloat16()))


LORA = "backbone.encoder.layers.0.self_attn.q_proj.lora_A.default.weight"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("projector.weight", torch.zeros(3), r"does not know: projector\.weight[\s\S]*ignore_keys"),
        ("backbone.extra", torch.zeros(3), r"unexpected: extra"),
        ("backbone.post_layernorm.bias", None, r"missing: post_layernorm\.bias"),
        ("backbone.embeddings.patch_embedding.weight", None, r"lacks …embeddings\.patch_embedding"),
        ("backbone.pre_layrnorm.bias", torch.zeros(3), r"pre_layrnorm\.bias \(3,\) instead of \(64,\)"),
        ("backbone.pre_layrnorm.bias", torch.full((64,), torch.nan), r"NaN.*pre_layrnorm\.bias"),
        (LORA, torch.zeros(4, 64), "merge_and_unload"),
        ("head.weight", torch.zeros(2, 65), "head reads 65 features; .* gives 64"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, key, value, message):
    state = {**tiny.BenchDetector(tiny.clip_tower()).state_dict(), key: value}
    state = {k: v for k, v in state.items() if v is not None}
    with pytest.raises(ModelError, match=message):
        xai.load(write(tmp_path, state))


def test_keys_can_be_ignored_by_name(tmp_path):
    detector = tiny.BenchDetector(tiny.clip_tower())
    state = {**detector.state_dict(), "projector.0.weight": torch.zeros(3, 3)}
    assert_equal(xai.load(write(tmp_path, state, "ignore_keys: [projector.]")), detector)


def test_no_known_detector(tmp_path):
    with pytest.raises(ModelError, match=r"No known detector has such weights: conv1\.weight[\s\S]*factory"):
        xai.load(write(tmp_path, {"conv1.weight": torch.zeros(3, 3)}))


def test_weights_option_replaces_the_files(tmp_path):
    detector = tiny.BenchDetector(tiny.clip_tower())
    path = write(tmp_path, {"conv1.weight": torch.zeros(3, 3)})
    save_file(detector.state_dict(), tmp_path / "other.safetensors")
    assert_equal(xai.load(path, weights=tmp_path / "other.safetensors"), detector)


def test_resolution_that_the_tower_does_not_take(tmp_path):
    state = tiny.BenchDetector(tiny.clip_tower()).state_dict()
    with pytest.raises(ConfigError, match=r"resolution: 224, but the tower takes 32×32"):
        xai.load(write(tmp_path, state, "resolution: 224"))


@pytest.mark.parametrize("shape", [(768, 12, 12, 16), (1024, 24, 16, 14)], ids=["ViT-B/16", "ViT-L/14"])
def test_published_architectures_are_read_from_shapes(shape):
    width, layers, heads, patch = shape
    config = hf.CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        patch_size=patch,
    )
    with torch.device("meta"):
        state = hf.CLIPVisionModel(config).state_dict()
    read = read_clip_config(state, TowerOptions())
    assert read.to_dict().items() <= config.to_dict().items()
    assert read.hidden_act == "quick_gelu"
