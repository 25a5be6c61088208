"""Modules and folders whose weights cannot be explained as they are: named, with the way on."""

import json
from types import SimpleNamespace

import pytest
import tiny_models as tiny
import torch
import transformers as hf
from accelerate import cpu_offload, disk_offload
from peft import LoraConfig, get_peft_model
from torch import nn

import xai
from xai.core import ModelError
from xai.models import Classifier

LABELS = ["real", "fake"]


def vit(**changes):
    config = hf.ViTConfig(**{**tiny.TOWER, **changes}, id2label={0: "real", 1: "fake"}, label2id={})
    return tiny.randomize(hf.ViTForImageClassification(config))


class Net(nn.Module):
    """Pixels to logits by one weight of any kind, and whatever else is hung on it."""

    def __init__(self, weight=None):
        super().__init__()
        self.linear = nn.Linear(12, 2)
        if weight is not None:
            self.weight = weight

    def forward(self, pixels):
        return self.linear(pixels.flatten(1)[:, :12])


def refused(module, message):
    with pytest.raises(ModelError, match=message):
        xai.load(module, labels=LABELS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_dynamically_quantised_module():
    refused(
        torch.ao.quantization.quantize_dynamic(vit(), {nn.Linear}),
        r"quantised weights: .*classifier \(Linear\)[\s\S]*floating-point weights",
    )


class Int8Params(nn.Parameter):
    """What bitsandbytes calls its weights."""


AffineQuantizedTensor = type("AffineQuantizedTensor", (torch.Tensor,), {"__module__": "torchao.dtypes"})
Linear4bit = type("Linear4bit", (nn.Linear,), {"__module__": "bitsandbytes.nn.modules"})


@pytest.mark.parametrize(
    "weight",
    [
        lambda: Int8Params(torch.zeros(2, 2, dtype=torch.int8), requires_grad=False),
        lambda: nn.Parameter(torch.zeros(2, 2).as_subclass(AffineQuantizedTensor)),
        lambda: nn.Parameter(torch.zeros(2, 2, dtype=torch.uint8), requires_grad=False),
        lambda: nn.Parameter(torch.zeros(2, 2).to(torch.float8_e4m3fn), requires_grad=False),
        lambda: Linear4bit(2, 2),
    ],
    ids=["Int8Params", "torchao", "uint8", "float8", "Linear4bit"],
)
def test_quantised_modules(weight):
    refused(Net(weight()), r"Net has quantised weights: weight")


def test_a_model_that_says_it_is_quantised():
    net = Net()
    net.quantization_method = SimpleNamespace(value="gptq")
    refused(net, r"quantised weights \(gptq\)")


def test_offloaded_modules(tmp_path):
    refused(
        cpu_offload(vit(), execution_device=torch.device("cpu")),
        r"without data \(meta tensors\)[\s\S]*Load the model whole",
    )
    refused(disk_offload(vit(), str(tmp_path), execution_device=torch.device("cpu")), "Load the model whole")


def test_one_weight_without_data():
    refused(Net(nn.Parameter(torch.zeros(3, device="meta"))), r"meta tensors\): weight\.")


def test_lazy_module():
    refused(
        nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), r"1\.bias, 1\.weight of Sequential have no values yet"
    )


class WithState(Net):
    """A module whose state dict holds more than tensors."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    def get_extra_state(self):
        return self.state

    def set_extra_state(self, state):
        self.state = state


def test_extra_state_is_part_of_the_identity():
    torch.manual_seed(0)
    first, second = WithState({"scale": 1.0}), WithState({"scale": 2.0})
    second.linear.load_state_dict(first.linear.state_dict())
    prints = [Classifier(one, LABELS, name="x").fingerprint for one in (first, second, first)]
    assert prints[0] == prints[2] != prints[1]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda x: torch.diag(torch.tensor([x, 1.0])).to_sparse(),
        lambda x: torch.diag(torch.tensor([x, 1.0])).to_sparse_csr(),
        lambda x: torch.tensor([1, x], dtype=torch.complex64).conj(),
        lambda x: torch.tensor(x),
        lambda x: torch.tensor([x]).expand(10**6),
        lambda x: torch.tensor([x]).to(torch.int64),
    ],
    ids=["coo", "csr", "complex", "scalar", "expanded", "int"],
)
def test_buffers_of_every_kind_have_an_identity(make):
    def print_of(value):
        torch.manual_seed(0)
        net = Net()
        net.register_buffer("table", make(value))
        return Classifier(net, LABELS, name="x").fingerprint

    assert print_of(2.0) == print_of(2.0) != print_of(3.0)


@pytest.mark.parametrize(
    "value", [torch.tensor([1, torch.inf]).to(torch.complex64), torch.tensor([torch.nan])]
)
def test_broken_buffers(value):
    net = Net()
    net.register_buffer("table", value)
    refused(net, "NaN or infinite weights in table")


def saved(folder, **config):
    """A folder with a model, some keys of its config.json replaced."""
    spec = tiny.save_pretrained(folder, vit())
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return spec


def adapter(model, folder):
    tuned = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    tuned.save_pretrained(folder)
    return tuned


def test_an_adapter_in_a_subfolder_is_named(tmp_path):
    adapter(vit(), tmp_path / "run" / "checkpoint-5")
    with pytest.raises(ModelError, match=r"Did you mean local:.*checkpoint-5\?"):
        xai.load(f"local:{tmp_path / 'run'}")


def test_an_adapter_beside_a_model(tmp_path):
    spec = saved(tmp_path)
    adapter(vit(), tmp_path / "adapter")
    for file in (tmp_path / "adapter").glob("adapter_*"):
        file.rename(tmp_path / file.name)
    with pytest.raises(ModelError, match=r"a model and a LORA adapter beside it[\s\S]*move adapter_config"):
        xai.load(spec)


def test_an_adapter_beside_a_model_on_the_hub(tmp_path, monkeypatch):
    """Without a network: transformers answers as it does for such a repository."""
    (tmp_path / "adapter_config.json").write_text(
        '{"peft_type": "IA3", "base_model_name_or_path": "org/base"}'
    )
    monkeypatch.setattr(hf.PreTrainedConfig, "get_config_dict", lambda place: ({"model_type": "vit"}, {}))
    found = str(tmp_path / "adapter_config.json")
    monkeypatch.setattr("xai.models.folder.cached_file", lambda place, name, **_: found)
    with pytest.raises(ModelError, match="a model and a IA3 adapter"):
        xai.load("hf:org/adapter")


def test_an_adapter_alone_on_the_hub_goes_on_its_base(tmp_path, monkeypatch):
    """Without a network: the repository's files lie in a folder, its base on disk."""
    saved(tmp_path / "base")
    model = adapter(hf.ViTForImageClassification.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    asked = hf.PreTrainedConfig.get_config_dict
    monkeypatch.setattr(
        hf.PreTrainedConfig,
        "get_config_dict",
        lambda place, **options: ({}, {}) if place == "org/adapter" else asked(place, **options),
    )

    def cached(place, name, **_):
        return str(file) if (file := tmp_path / "adapter" / name).is_file() else None

    monkeypatch.setattr("xai.models.folder.cached_file", cached)
    with torch.no_grad():
        x = tiny.pixels()
        expected = model.eval()(x).logits
        torch.testing.assert_close(xai.load("hf:org/adapter")(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["gptq", "bitsandbytes", None])
def test_a_quantised_folder(tmp_path, method):
    spec = saved(tmp_path, quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(ModelError, match=rf"quantised weights \({method or 'of an unknown'}"):
        xai.load(spec)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"config\.json is no JSON"),
        ("[1, 2]", "holds a list; expected an object"),
        ("3", "holds a int"),
        ('{"a": ' * 5000 + "1" + "}" * 5000, "nested too deeply|is no JSON|cannot be loaded"),
        ('{"a": "' + "x" * 6_000_000 + '"}', "that is no configuration"),
        (b"\xff\xfe\x00", "is no JSON"),
        ("{}", "cannot be loaded"),
        ('{"model_type": "nothing_known"}', "cannot be loaded: .*nothing_known"),
        ('{"model_type": 3}', "cannot be loaded"),
        (None, r"holds no config\.json"),
    ],
)
def test_a_config_that_is_none(tmp_path, content, message):
    spec = saved(tmp_path)
    path = tmp_path / "config.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ModelError, match=message):
        xai.load(spec)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: 1000000000; no model has that"),
        ({"num_hidden_layers": 10**30}, "no model has that"),
        (
            {"hidden_size": 10**6},
            r"describes ViTForImageClassification with .* weights; the checkpoint holds",
        ),
        ({"image_size": 10**6}, "describes ViTForImageClassification"),
        ({"num_attention_heads": 0}, "num_attention_heads: 0; no model has that"),
        ({"num_attention_heads": -1}, "num_attention_heads: -1"),
        ({"hidden_dropout_prob": float("nan")}, "hidden_dropout_prob: nan"),
        ({"num_labels": 10**9}, "num_labels: 1000000000"),
        ({"architectures": "ViTForImageClassification"}, "expected a list of class names"),
        ({"architectures": [3]}, "expected a list of class names"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "does not hold the weights"),
        ({"dtype": "float128"}, "cannot be loaded|does not"),
        ({"dtype": "float8_e4m3fn"}, "cannot be loaded|quantised"),
        ({"hidden_act": "no_such"}, "cannot be loaded"),
    ],
)
def test_a_config_of_another_model(tmp_path, config, message):
    spec = saved(tmp_path, **config)
    with pytest.raises(ModelError, match=message):
        xai.load(spec)


def test_a_missing_shard(tmp_path):
    saved(tmp_path)
    vit().save_pretrained(tmp_path, max_shard_size="60KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    (tmp_path / "model.safetensors").unlink(missing_ok=True)
    assert xai.load(f"local:{tmp_path}").labels == ("real", "fake")
    shards[0].unlink()
    with pytest.raises(ModelError, match=rf"lacks 1 of the shards .*{shards[0].name}"):
        xai.load(f"local:{tmp_path}")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelError, match="no weight_map"):
        xai.load(f"local:{tmp_path}")


def test_a_link_to_weights_that_are_gone(tmp_path):
    spec = saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "gone.safetensors")
    with pytest.raises(ModelError, match="cannot be loaded"):
        xai.load(spec)
