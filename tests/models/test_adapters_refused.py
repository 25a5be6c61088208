"""Adapters that are not folded: of other kinds, of other models, in part, or without a meaning."""

import json
from copy import deepcopy

import pytest
import tiny_models as tiny
import torch
from adapted import assert_answers, loaded, logits, saved_base, tuned
from checkpoints import write
from peft import (
    AdaLoraConfig,
    LoraConfig,
    OFTConfig,
    VeraConfig,
)
from safetensors.torch import load_file, save_file

import xai
from xai.core import ConfigError, ModelError


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return saved_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_model_name_or_path": None}, "does not name the model"),
        ({"base_model_name_or_path": "/nowhere/base"}, "cannot be loaded"),
        ({"peft_type": "OFT"}, r"not folded here \(OFT\)[\s\S]*merge_and_unload"),
        ({"init_lora_weights": "pissa_niter_4"}, r"init_lora_weights: pissa[\s\S]*changed before training"),
        ({"alora_invocation_tokens": [3]}, "says alora_invocation_tokens, which is not folded"),
        ({"alpha_pattern": {"(a+)+$": 3}}, "pattern .* is not read here"),
        ({"lora_alpha": "much"}, "says a lora_alpha that is none"),
    ],
)
def test_an_adapter_folder_that_cannot_be_folded(tmp_path, base, change, message):
    tuned(loaded(base), LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises((ModelError, ConfigError), match=message):
        xai.load(f"local:{tmp_path}")


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("layers.1.attention.q_proj", "layers.1.attention.q_proj"),
        ("mlp.fc1", "layers.0.mlp.fc1"),
        ("classifier", "classifier"),
    ],
    ids=["one_layer_of_a_kind", "all_layers_of_a_kind", "the_head_trained_whole"],
)
def test_an_adapter_that_lacks_layers_that_it_names(tmp_path, base, lost, named):
    config = LoraConfig(
        r=2, target_modules=["q_proj", "fc1", "query_key_value"], modules_to_save=["classifier", "score"]
    )
    tuned(loaded(base), config).save_pretrained(tmp_path)
    xai.load(f"local:{tmp_path}")  # whole; names that no module has are of other architectures
    path = tmp_path / "adapter_model.safetensors"
    state = load_file(path)
    kept = {key: value for key, value in state.items() if f".{lost}." not in key}
    assert 0 < len(kept) < len(state)
    save_file(kept, path)
    with pytest.raises(ModelError, match="lacks tensors of modules") as error:
        xai.load(f"local:{tmp_path}")
    assert named in error.value.message


def test_an_adapter_of_another_model(tmp_path, base):
    config = LoraConfig(r=2, target_modules=["k_proj"])
    tuned(tiny.clip_tower(), config).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": str(base)}))
    with pytest.raises(
        ModelError, match=r"adapts modules that ViTForImageClassification of .* has not: encoder"
    ):
        xai.load(f"local:{tmp_path}")
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(b"")  # a download that was interrupted
    with pytest.raises(ModelError, match=r"is an adapter of PEFT\. .* is empty"):
        xai.load(f"local:{tmp_path}")
    weights.unlink()
    with pytest.raises(ModelError, match="no adapter_model"):
        xai.load(f"local:{tmp_path}")


def test_kinds_of_adapters_that_are_not_folded_are_named(tmp_path, base):
    for config in (
        OFTConfig(r=0, oft_block_size=8, target_modules=["q_proj"]),
        VeraConfig(r=2, target_modules=["q_proj"]),
    ):
        model = tuned(loaded(base), config)
        with pytest.raises(ModelError, match=r"PEFT layers that are not folded here[\s\S]*merge_and_unload"):
            xai.load(model)
        tower = tuned(tiny.clip_tower(), config)
        with pytest.raises(ModelError, match=r"adapters that are not folded here: .*q_proj"):
            xai.load(write(tmp_path, tiny.BenchDetector(tower).state_dict()))


def test_layers_that_are_lora_s_with_a_part_more_are_not_taken_for_lora(base):
    """AdaLoRA's class is derived from LoRA's; without its third factor the answers would be others."""
    model = tuned(loaded(base), AdaLoraConfig(total_step=10, target_modules=["q_proj"]))
    with pytest.raises(ModelError, match=r"SVDLinear \(lora_E\)[\s\S]*merge_and_unload"):
        xai.load(model)
    assert_answers(xai.load(deepcopy(model).merge_and_unload()), logits(model))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("lora_A", "lora_B"), "as loralib keeps them"),
        (("lora_A.one.weight", "lora_A.two.weight"), "Several adapters at .*q_proj: one, two"),
        (("lora_A.one.weight", "lora_E.one"), "not folded here"),
    ],
)
def test_checkpoints_whose_meaning_cannot_be_seen(tmp_path, names, message):
    state = tiny.BenchDetector(tiny.clip_tower()).state_dict()
    at = "backbone.encoder.layers.0.self_attn.q_proj"
    state.update({f"{at}.{name}": torch.zeros(2, 64) for name in names})
    with pytest.raises(ModelError, match=message):
        xai.load(write(tmp_path, state, "adapter: {lora_alpha: 1}"))


def test_shapes_that_are_no_adapter_s_are_refused_before_they_are_multiplied(tmp_path):
    state = tiny.BenchDetector(tiny.clip_tower()).state_dict()
    at = "backbone.encoder.layers.0.self_attn.q_proj"
    state |= {f"{at}.lora_A.weight": torch.zeros(1, 400_000), f"{at}.lora_B.weight": torch.zeros(400_000, 1)}
    with pytest.raises(ModelError, match=r"does not fit it"):
        xai.load(write(tmp_path, state, "adapter: {lora_alpha: 1}"))
