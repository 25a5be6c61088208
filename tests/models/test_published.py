"""Published detectors: each layout is rebuilt from its checkpoint with the logits of the original."""

import warnings
from typing import Any

import pytest
import tiny_models as tiny
import torch
import torch.nn.functional as F
import transformers as hf
from checkpoints import assert_equal, write
from peft import LNTuningConfig, get_peft_model
from safetensors.torch import save_file
from torch import Tensor, nn

import xai
from xai.core import ConfigError, ModelError, PatchGrid

LN_TARGETS = ["pre_layrnorm", "layer_norm1", "layer_norm2", "post_layernorm", "layernorm", "norm1", "norm2"]


def ln_tuned(tower: nn.Module, seed: int = 5) -> nn.Module:
    """PEFT LN-tuning with tuned norms that differ from the originals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # peft: some of the targets are not there
        model: Any = get_peft_model(tower, LNTuningConfig(target_modules=LN_TARGETS))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "ln_tuning_layers" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def svd_tower() -> nn.Module:
    tower = tiny.clip_tower()
    for layer in tower.encoder.layers:
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear = getattr(layer.self_attn, name)
            setattr(layer.self_attn, name, tiny.SVDLinear(linear))
    return tower


def old_clip_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As transformers 4 nested them under CLIPVisionModel."""
    return {key.replace("backbone.", "backbone.vision_model."): value for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {"net": {f"module.{key}": value for key, value in old_clip_keys(state).items()}},
        lambda state: {**state, "backbone.embeddings.position_ids": torch.arange(17)[None]},
    ],
    ids=["plain", "state_dict", "model+module.", "net+module.+transformers-4", "position_ids"],
)
def test_clip(tmp_path, wrap):
    detector = tiny.BenchDetector(tiny.clip_tower())
    classifier = xai.load(write(tmp_path, wrap(detector.state_dict()), "model_name: clip"))
    assert_equal(classifier, detector)
    assert classifier.labels == ("real", "fake")
    assert classifier.grid == PatchGrid(4, 4, 1)
    assert classifier.input_size == (32, 32)
    assert classifier.preprocessing.mean == (0.5, 0.5, 0.5)
    assert not classifier.module.training


def test_effort(tmp_path):
    detector = tiny.BenchDetector(svd_tower())
    classifier = xai.load(write(tmp_path, detector.state_dict(), "model_name: effort"))
    assert_equal(classifier, detector)
    assert not any("residual" in key or "_main" in key for key in classifier.state_dict())
    assert classifier.describe()["folded"] == ["residual_svd"]
    assert classifier.describe()["family"] == "effort"
    assert classifier.preprocessing.mean == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)


def test_effort_without_residual_is_its_main_weight(tmp_path):
    detector = tiny.BenchDetector(tiny.clip_tower())
    state = {
        k.replace("_proj.weight", "_proj.weight_main") if "self_attn" in k else k: v
        for k, v in detector.state_dict().items()
    }
    assert_equal(xai.load(write(tmp_path, state)), detector)


def test_clip_enhanced(tmp_path):
    detector = tiny.EnhancedDetector(ln_tuned(tiny.clip_tower()))
    classifier = xai.load(write(tmp_path, detector.state_dict(), "model_name: clip_enhanced"))
    assert_equal(classifier, detector)
    described = classifier.describe()
    assert described["folded"] == ["peft", "ln_tuning"]
    assert described["normalize_features"] is True
    assert described["preprocessing"]["resize"] == {"shortest_edge": 32}
    assert described["preprocessing"]["crop"] == [32, 32]
    assert classifier.preprocessing.torchvision_crop


def test_clip_enhanced_with_keys_of_transformers_4(tmp_path):
    detector = tiny.EnhancedDetector(ln_tuned(tiny.clip_tower()))
    new, old = "base_model.model.", "base_model.model.vision_model."
    state = {f"module.{key.replace(new, old)}": value for key, value in detector.state_dict().items()}
    assert_equal(xai.load(write(tmp_path, {"model": state})), detector)


@pytest.mark.parametrize("line", ["head: linear", "normalize_features: false"])
def test_clip_enhanced_obeys_the_yaml_on_normalisation(tmp_path, line):
    detector = tiny.EnhancedDetector(ln_tuned(tiny.clip_tower()), normalize=False)
    assert_equal(xai.load(write(tmp_path, detector.state_dict(), line)), detector)


def test_tuned_norms_are_in_use(tmp_path):
    """The fold must not fall back to the base layer: an untuned tower answers otherwise."""
    tuned = tiny.EnhancedDetector(ln_tuned(tiny.clip_tower()))
    untuned = tiny.EnhancedDetector(tiny.clip_tower())
    x = tiny.pixels()
    with torch.no_grad():
        assert (tuned(x) - untuned(x)).abs().max() > 1e-2


def test_family_is_told_by_keys(tmp_path):
    detector = tiny.BenchDetector(svd_tower())
    assert xai.load(write(tmp_path, detector.state_dict())).describe()["family"] == "effort"
    with pytest.raises(ConfigError, match=r"model_name: clip,.*effort"):
        xai.load(write(tmp_path, detector.state_dict(), "model_name: clip"))


DINO = {
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**tiny.TOWER)),
    "dinov2_with_registers": lambda: hf.Dinov2WithRegistersModel(
        hf.Dinov2WithRegistersConfig(**tiny.TOWER, num_register_tokens=2)
    ),
    "dinov3": lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**tiny.TOWER, num_register_tokens=2)),
    "dinov3_gated": lambda: hf.DINOv3ViTModel(
        hf.DINOv3ViTConfig(**tiny.TOWER, use_gated_mlp=True, hidden_act="silu")
    ),
    "dinov2_swiglu": lambda: hf.Dinov2Model(hf.Dinov2Config(**tiny.TOWER, use_swiglu_ffn=True)),
}


@pytest.mark.parametrize("normalize", [True, False])
def test_gend_clip(tmp_path, normalize):
    detector = tiny.EnhancedDetector(tiny.GenDExtractor(tiny.clip_tower()), normalize=normalize)
    head = "LinearNorm" if normalize else "linear"
    classifier = xai.load(write(tmp_path, detector.state_dict(), "model_name: gend", f"head: {head}"))
    assert_equal(classifier, detector)
    assert classifier.describe()["normalize_features"] is normalize


@pytest.mark.parametrize("kind", ["clip", "dinov2"])
def test_gend_with_ln_tuning(tmp_path, kind):
    """LNCLIP-DF saves the tuned layer norms beside the originals."""
    tower = tiny.clip_tower() if kind == "clip" else tiny.randomize(DINO[kind]())
    tuned = tiny.EnhancedDetector(tiny.GenDExtractor(tower))
    name = "vision_model" if kind == "clip" else "backbone"
    setattr(tuned.feature_extractor, name, ln_tuned(tower))
    path = write(tmp_path, tuned.state_dict(), "model_name: gend", "head: LinearNorm", "resolution: 32")
    classifier = xai.load(path)
    assert_equal(classifier, tuned)
    assert classifier.describe()["folded"] == ["peft", "ln_tuning"]


@pytest.mark.parametrize("kind", DINO)
def test_gend_dino(tmp_path, kind):
    tower = tiny.randomize(DINO[kind]())
    detector = tiny.EnhancedDetector(tiny.GenDExtractor(tower))
    classifier = xai.load(write(tmp_path, detector.state_dict(), "head: LinearNorm", "resolution: 32"))
    assert_equal(classifier, detector)
    registers = getattr(tower.config, "num_register_tokens", 0)
    assert classifier.grid == PatchGrid(4, 4, 1 + registers)


def test_gend_dino_preprocessing_is_the_published_one(tmp_path):
    detector = tiny.EnhancedDetector(tiny.GenDExtractor(tiny.randomize(DINO["dinov2"]())))
    described = xai.load(write(tmp_path, detector.state_dict(), "head: linear")).describe()["preprocessing"]
    assert described["resize"] == {"shortest_edge": 256}
    assert described["crop"] == [224, 224]
    assert described["mean"] == [0.485, 0.456, 0.406]


def test_gend_with_keys_of_transformers_4(tmp_path):
    tower = tiny.randomize(DINO["dinov2"]())
    detector = tiny.EnhancedDetector(tiny.GenDExtractor(tower))
    old = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value"}
    state = detector.state_dict()
    for new, name in (*old.items(), ("o_proj", "output.dense")):
        state = {key.replace(f"attention.{new}", f"attention.{name}"): v for key, v in state.items()}
    assert any("attention.attention.query" in key for key in state)
    assert_equal(xai.load(write(tmp_path, state, "head: LinearNorm", "resolution: 32")), detector)


def test_gend_must_say_its_normalisation(tmp_path):
    detector = tiny.EnhancedDetector(tiny.GenDExtractor(tiny.clip_tower()))
    with pytest.raises(ConfigError, match="head: LinearNorm"):
        xai.load(write(tmp_path, detector.state_dict()))


def test_gend_folder(tmp_path):
    """As on the hub: config.json with GenD's own keys, and safetensors."""
    detector = tiny.EnhancedDetector(tiny.GenDExtractor(tiny.clip_tower()))
    (tmp_path / "config.json").write_text(
        '{"model_type": "GenD", "architectures": ["GenD"], "backbone": "clip", "head": "LinearNorm"}'
    )
    save_file(detector.state_dict(), tmp_path / "model.safetensors")
    assert_equal(xai.load(f"local:{tmp_path}"), detector)


def test_another_tower_of_timm_is_refused_clearly(tmp_path):
    state = {
        "feature_extractor.backbone.blocks.0.attn.qkv.weight": torch.zeros(192, 64),
        "model.linear.weight": torch.zeros(2, 64),
        "model.linear.bias": torch.zeros(2),
    }
    with pytest.raises(ModelError, match=r"timm's keys[\s\S]*factory"):
        xai.load(write(tmp_path, state, "head: linear"))


@pytest.mark.parametrize("prefix", ["", "fc."])
def test_universalfakedetect(tmp_path, prefix):
    model = tiny.clip_model()
    tiny.save_pretrained(tmp_path / "tower", model)
    head = tiny.randomize(nn.Linear(24, 1), seed=3)
    state = {prefix + key: value for key, value in head.state_dict().items()}
    path = write(tmp_path, state, "model_name: universalfakedetect", f"backbone: local:{tmp_path / 'tower'}")
    classifier = xai.load(path)
    x = tiny.pixels()
    with torch.no_grad():
        z = head(model.get_image_features(x).pooler_output)[:, 0]
        logits = classifier(x)
    torch.testing.assert_close(logits, torch.stack([-z / 2, z / 2], dim=1))
    torch.testing.assert_close(logits.softmax(dim=1)[:, 1], z.sigmoid())
    assert classifier.describe()["preprocessing"]["resize"] is None
    assert classifier.describe()["preprocessing"]["crop"] == [32, 32]


@pytest.mark.parametrize("backbone", ["", "backbone: ViT-L/14", "backbone: 'local:'"])
def test_universalfakedetect_needs_its_tower(tmp_path, backbone):
    state = {"weight": torch.zeros(1, 24), "bias": torch.zeros(1)}
    with pytest.raises(ConfigError, match="local:DIR"):
        xai.load(write(tmp_path, state, backbone))


class PromptDetector(nn.Module):
    """clip_enhanced's prompt variant as published: first token of the text tower, unused context."""

    def __init__(self, tokenizer: Any):
        super().__init__()
        text = hf.CLIPTextConfig(**tiny.TEXT, **tiny.LETTERS)
        self.vision_encoder = ln_tuned(tiny.clip_tower())
        self.text_encoder = tiny.randomize(hf.CLIPTextModel(text))
        self.projection = tiny.randomize(nn.Linear(tiny.WIDTH, tiny.TEXT["hidden_size"]), seed=2)
        self.ctx = nn.Parameter(torch.randn(3, tiny.TEXT["hidden_size"]))
        texts = ["X X X a photo of a real face", "X X X a photo of a fake face"]
        self.tokens = dict(tokenizer(texts, return_tensors="pt", padding=True))

    def forward(self, pixels: Tensor) -> Tensor:
        texts = self.text_encoder(**self.tokens).last_hidden_state[:, 0]
        image = self.projection(self.vision_encoder(pixels).last_hidden_state[:, 0])
        return F.normalize(image, dim=-1) @ F.normalize(texts, dim=-1).T


def test_clip_enhanced_prompts(tmp_path):
    tokenizer = tiny.clip_tokenizer()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    detector = PromptDetector(tokenizer)
    config = ["model_name: clip_enhanced", "clip_path: tokenizer", "num_attention_heads: 1"]
    path = write(tmp_path, detector.state_dict(), *config)
    with pytest.warns(UserWarning, match="same feature"):
        classifier = xai.load(path)
    assert_equal(classifier, detector)


@pytest.mark.parametrize("line", ["", "clip_path: nowhere"])
def test_clip_enhanced_prompts_need_the_tokenizer(tmp_path, line):
    state = PromptDetector(tiny.clip_tokenizer()).state_dict()
    with pytest.raises(ConfigError, match=r"tokenizer[\s\S]*clip_path"):
        xai.load(write(tmp_path, state, "num_attention_heads: 1", line))
