"""Adapters of PEFT folded from a checkpoint, a folder and a module answer as PEFT's own forward pass does."""

import json
import warnings
from copy import deepcopy

import pytest
import tiny_models as tiny
import torch
import torch_attention
import transformers as hf
from checkpoints import assert_equal, write
from peft import (
    AdaLoraConfig,
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    VeraConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from torch import nn

import xai
from xai.attr import create
from xai.core import ConfigError, ModelError
from xai.models.adapter_settings import AdapterSettings

NAMES = {0: "real", 1: "fake"}
KINDS = {
    "lora": LoraConfig(
        r=2,
        lora_alpha=3,
        target_modules=["q_proj", "fc1", "projection"],
        modules_to_save=["classifier"],
        bias="lora_only",
        rank_pattern={"fc1": 4},
        alpha_pattern={"layers.0.mlp.fc1": 7},
    ),
    "rslora": LoraConfig(r=4, lora_alpha=3, use_rslora=True, lora_bias=True, target_modules=["v_proj"]),
    "dora": LoraConfig(r=2, use_dora=True, target_modules=["q_proj", "projection"], bias="all"),
    "ia3": IA3Config(target_modules=["q_proj", "fc1", "projection"], feedforward_modules=["fc1"]),
    "loha": LoHaConfig(r=2, alpha=3, target_modules=["q_proj", "projection"], use_effective_conv2d=True),
    "lokr": LoKrConfig(r=2, target_modules=["q_proj", "projection"], decompose_both=True),
    "lokr_of_whole_factors": LoKrConfig(r=9, alpha=3, target_modules=["q_proj"]),
    "lokr_of_a_kernel": LoKrConfig(r=2, target_modules=["projection"], use_effective_conv2d=True),
    "ln_tuning": LNTuningConfig(target_modules=["layernorm_before"]),
}


def vit(labels=NAMES, **options):
    config = hf.ViTConfig(
        **tiny.TOWER, id2label=labels, label2id={name: number for number, name in labels.items()}, **options
    )
    return tiny.randomize(hf.ViTForImageClassification(config))


def tuned(model, config, seed=0):
    """A PEFT model whose adapters change something."""
    model = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad and "ranknum" not in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny.save_pretrained(folder, vit())
    return folder


def loaded(base):
    return hf.ViTForImageClassification.from_pretrained(base)


def logits(model):
    with torch.no_grad():
        return model(tiny.pixels(3)).logits


def assert_answers(classifier, expected):
    with torch.no_grad():
        got = classifier(tiny.pixels(3))
    assert (got - expected).abs().max() <= 1e-5 * max(1.0, expected.abs().max().item())


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
    from safetensors.torch import load_file, save_file

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


def test_an_adapter_of_some_layers_only_is_whole(tmp_path, base):
    config = LoraConfig(r=2, target_modules=["q_proj", "fc1"], layers_to_transform=[1])
    model = tuned(loaded(base), config)
    model.save_pretrained(tmp_path)
    assert_answers(xai.load(f"local:{tmp_path}"), logits(model))


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
