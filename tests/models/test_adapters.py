"""Adapters of PEFT folded from a checkpoint, a folder and a module answer as PEFT's own forward pass does."""

import json
import warnings
from copy import deepcopy

import pytest
import tiny_models as tiny
import torch
import torch_attention
import transformers as hf
from adapted import KINDS, assert_answers, loaded, logits, saved_base, tuned, vit
from checkpoints import assert_equal, write
from peft import (
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from torch import nn

import xai
from xai.attr import create
from xai.core import ConfigError
from xai.models.adapter_settings import AdapterSettings


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return saved_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_folder_on_its_base_and_the_module_itself(tmp_path, base, kind):
    model = tuned(loaded(base), KINDS[kind])
    model.save_pretrained(tmp_path)
    expected = logits(model)
    assert (expected - logits(vit())).abs().max() > 0.01
    from_folder = xai.load(f"local:{tmp_path}")
    assert_answers(from_folder, expected)
    said = from_folder.describe()
    assert kind.partition("_of")[0].removeprefix("rs") in said["folded"]
    assert (said["adapter"], said["base"], said["labels"]) == (str(tmp_path), str(base), ["real", "fake"])
    from_module = xai.load(model)
    assert_answers(from_module, expected)
    assert from_module.describe()["adapters"] == ["default"]
    names = [name for name, _ in from_module.named_modules()]
    assert not any("lora" in name or "base_layer" in name or "modules_to_save" in name for name in names)
    torch.testing.assert_close(logits(model), expected, rtol=0, atol=0)  # the caller's own is left as it is


@pytest.mark.parametrize("kind", ["lora", "dora", "loha", "lokr", "ia3"])
def test_a_checkpoint_of_a_detector_with_adapters(tmp_path, kind):
    """As torch.save of the model in training leaves it; α is not in it."""
    targets = {"target_modules": ["q_proj", "fc1"]}
    config = {
        "lora": LoraConfig(r=2, lora_alpha=5, **targets),
        "dora": LoraConfig(r=2, lora_alpha=5, use_dora=True, **targets),
        "loha": LoHaConfig(r=2, alpha=5, **targets),
        "lokr": LoKrConfig(r=2, alpha=5, **targets),
        "ia3": IA3Config(**targets, feedforward_modules=["fc1"]),
    }[kind]
    detector = tiny.BenchDetector(tuned(tiny.clip_tower(), config))
    state = detector.state_dict()
    assert any(".base_model.model." in key for key in state)
    alpha = {"ia3": "", "lora": "lora_alpha", "dora": "lora_alpha"}.get(kind, "alpha")
    lines = [f"adapter: {{{alpha}: 5}}"] if alpha else []
    classifier = xai.load(write(tmp_path, state, *lines))
    assert_equal(classifier, detector)
    assert classifier.describe()["folded"] == ["peft", kind]
    assert classifier.describe()["family"] == "clip"
    if alpha:
        with pytest.raises(ConfigError, match=rf"{alpha} is not in the weights[\s\S]*adapter: \{{{alpha}"):
            xai.load(write(tmp_path, state))
        # the configuration that was saved with the adapter says it too
        detector.backbone.save_pretrained(tmp_path / "saved")
        path = write(tmp_path, state, "adapter: saved/adapter_config.json")
        assert_equal(xai.load(path), detector)


def test_a_detector_s_weights_and_the_adapter_s_folder(tmp_path):
    plain = tiny.BenchDetector(tiny.clip_tower())
    torch.save(plain.state_dict(), tmp_path / "clip.pth")
    tower = tuned(tiny.clip_tower(), LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj", "out_proj"]))
    tower.save_pretrained(tmp_path / "adapter")
    (tmp_path / "clip.yaml").write_text("weights: clip.pth\nadapter: adapter\n")
    assert_equal(xai.load(tmp_path / "clip.yaml"), tiny.BenchDetector(tower))


def net():
    return tiny.randomize(torch_attention.Net())


def of_net(folder, model):
    """A checkpoint of Net with adapters, for a plain Net."""
    torch.save(model.state_dict(), folder / "net.pth")
    (folder / "net.yaml").write_text(
        "factory: torch_attention:Net\nweights: net.pth\ngrid: 4x4\nadapter: {lora_alpha: 4}\n"
    )
    return folder / "net.yaml"


@pytest.mark.parametrize("targets", [["attn"], ["attn", "out_proj"]])
def test_adapted_attention_counts_its_out_projection_as_peft_does(tmp_path, targets):
    model = tuned(net(), LoraConfig(r=2, lora_alpha=4, target_modules=targets))
    with torch.no_grad():
        expected = model(tiny.pixels(3))
    with pytest.warns(UserWarning, match="count twice, as PEFT up to 0.21"):
        classifier = xai.load(of_net(tmp_path, model), trust_code=True)
    assert_answers(classifier, expected)
    assert classifier.describe()["adapter_out_proj"] == "twice"
    assert_answers(xai.load(model, ["real", "fake"], "4x4"), expected)
    first = xai.load(model, ["real", "fake"], "4x4")
    before = first.fingerprint
    first(tiny.pixels(1))
    assert first.fingerprint == before  # PEFT's own layer writes to its weights in each pass


def test_an_out_projection_that_peft_does_not_run_is_left_out_and_named(tmp_path):
    """The forward pass has no such adapter, merging puts it in: two models, and one of them is explained."""
    model = tuned(net(), LoraConfig(r=2, lora_alpha=4, target_modules=["out_proj"]))
    with torch.no_grad():
        runs = model(tiny.pixels(3))
    with pytest.warns(UserWarning, match=r"leaves out the adapter of attn\.out_proj.*without them"):
        classifier = xai.load(of_net(tmp_path, model), trust_code=True)
    assert_answers(classifier, runs)
    assert classifier.describe()["adapters_unread"] == ["attn.out_proj"]
    with pytest.warns(UserWarning, match=r"leaves out the adapter of attn\.out_proj"):
        assert_answers(xai.load(model, ["real", "fake"], "4x4"), runs)
    merged = model.merge_and_unload()
    with torch.no_grad():
        assert (merged(tiny.pixels(3)) - runs).abs().max() > 0.01


def test_an_out_projection_whose_adapter_changes_nothing_is_not_worth_a_warning(tmp_path):
    model = get_peft_model(net(), LoraConfig(r=2, lora_alpha=4, target_modules=["out_proj"])).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "adapters_unread" not in xai.load(of_net(tmp_path, model), trust_code=True).describe()


def test_methods_that_read_weights_see_the_adapters(base):
    """Through PEFT's layers they would see the base's weights alone."""
    model = tuned(loaded(base), KINDS["dora"])
    explained = xai.load(model)
    merged = xai.load(deepcopy(model).merge_and_unload())
    for method in ("cp_lrp", "bt_token"):
        maps = [
            create(method, one).attribute_patches(tiny.pixels(1), target=1) for one in (explained, merged)
        ]
        torch.testing.assert_close(maps[0], maps[1], rtol=1e-3, atol=1e-5)


def test_the_adapters_that_are_active_count(base):
    model = tuned(loaded(base), LoraConfig(r=2, target_modules=["q_proj"]))
    model.add_adapter("second", LoraConfig(r=2, target_modules=["v_proj", "q_proj"], init_lora_weights=False))
    one = logits(model)
    assert_answers(xai.load(model), one)
    model.base_model.set_adapter(["default", "second"])
    both = logits(model)
    assert (both - one).abs().max() > 0.01
    assert_answers(xai.load(model), both)
    model.base_model.set_adapter("second")
    model.base_model.merge_adapter()
    assert_answers(xai.load(model), logits(model))
    model.base_model.unmerge_adapter()
    with model.disable_adapter():
        assert_answers(xai.load(model), logits(model))


def test_an_adapter_of_transformers_4_with_a_head_of_its_own(tmp_path):
    """The commonest on the hub: a tower without a head, and names of modules that transformers 5 changed."""
    tower = tiny.randomize(hf.ViTModel(hf.ViTConfig(**tiny.TOWER)))
    tiny.save_pretrained(tmp_path / "base", tower)
    labels = {0: "real", 1: "fake", 2: "unsure"}
    model = vit(labels)
    model.vit.load_state_dict(tower.state_dict(), strict=False)
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
    model = tuned(model, config)
    model.save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "../base"}))

    file = tmp_path / "adapter" / "adapter_model.safetensors"
    old = {
        key.replace(".layers.", ".encoder.layer.")
        .replace("attention.q_proj", "attention.attention.query")
        .replace("attention.v_proj", "attention.attention.value"): value
        for key, value in load_file(file).items()
    }
    assert any("encoder.layer.0.attention.attention.query.lora_A" in key for key in old)
    save_file(old, file)
    classifier = xai.load(f"local:{tmp_path / 'adapter'}", labels=list(labels.values()))
    assert_answers(classifier, logits(model))


def test_a_half_precision_base_keeps_what_the_adapter_adds(tmp_path, base):
    model = loaded(base).bfloat16()
    tiny.save_pretrained(tmp_path / "base", model)
    adapted = tuned(hf.ViTForImageClassification.from_pretrained(tmp_path / "base"), KINDS["rslora"])
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.warns(UserWarning, match="different types"):
        classifier = xai.load(f"local:{tmp_path / 'adapter'}")
    assert_answers(classifier, logits(adapted.float()))


def test_an_adapter_of_some_layers_only_is_whole(tmp_path, base):
    config = LoraConfig(r=2, target_modules=["q_proj", "fc1"], layers_to_transform=[1])
    model = tuned(loaded(base), config)
    model.save_pretrained(tmp_path)
    assert_answers(xai.load(f"local:{tmp_path}"), logits(model))


def test_a_pattern_names_modules_as_peft_matches_them():
    settings = AdapterSettings(lora_alpha=8, alpha_pattern={r"^layers\.0\.fc": 2, "fc1": 4})
    given = [
        settings.scale(name, "lora", 2) for name in ("layers.0.fc", "x.layers.0.fc", "layers.1.fc1", "fc11")
    ]
    assert given == [1, 4, 2, 4]


def test_a_transposed_weight(tmp_path):
    """Conv1D of transformers keeps (in, out); ImageGPT is made of them."""
    from transformers.pytorch_utils import Conv1D

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat, self.first, self.head = nn.Flatten(), Conv1D(12, 12), nn.Linear(12, 2)

        def forward(self, pixels):
            return self.head(self.first(self.flat(pixels)))

    for config in (
        LoraConfig(r=2, target_modules=["first"], fan_in_fan_out=True, init_lora_weights=False),
        LoraConfig(
            r=2, target_modules=["first"], fan_in_fan_out=True, use_dora=True, init_lora_weights=False
        ),
        IA3Config(
            target_modules=["first"], feedforward_modules=[], fan_in_fan_out=True, init_ia3_weights=False
        ),
    ):
        model = get_peft_model(tiny.randomize(Two()), config).eval()
        x = torch.randn(2, 3, 2, 2)
        with torch.no_grad():
            torch.testing.assert_close(
                xai.load(model, ["real", "fake"], "2x2")(x), model(x), rtol=1e-4, atol=1e-5
            )
