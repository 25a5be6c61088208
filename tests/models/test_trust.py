"""A file that names code does not get it run, unless the caller says so."""

import json
import sys

import pytest
import tiny_models as tiny
import yaml
from tiny_detector import write_photos
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

import xai
from xai.bench import estimate, read_benchmark, run_benchmark, summarise, tune
from xai.bench.run.context import RunContext
from xai.core import ConfigError, ModelError

BODY = """\
from pathlib import Path
Path(__file__).with_name("MARK").write_text("imported")
from torch import manual_seed, nn

class Made(nn.Module):
    def __init__(self, width):
        super().__init__()
        manual_seed(0)
        self.tower = __import__("tiny_models").clip_tower()
        self.head = nn.Linear(width, 2)

    def forward(self, pixels):
        return self.head(self.tower(pixels).pooler_output)
"""


@pytest.fixture
def factory(tmp_path, request):
    """A detector of a module beside its YAML, which leaves a mark when it is imported."""
    module = f"made_{abs(hash(request.node.name)) % 10**9}"
    (tmp_path / f"{module}.py").write_text(BODY)
    said = {"factory": f"{module}:Made", "kwargs": {"width": 64}, "labels": ["real", "fake"]}
    said |= {"resize": "square", "resolution": 32, "mean": [0.5] * 3, "std": [0.5] * 3}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(said))
    yield tmp_path / "own.yaml"
    sys.modules.pop(module, None)


def refused(call, folder):
    before = list(sys.path)
    with pytest.raises(
        ConfigError, match=r"wants to import made_\d+ and run made_\d+:Made\(width=64\)"
    ) as one:
        call()
    assert "--trust-code" in str(one.value)
    assert not (folder / "MARK").exists()
    assert sys.path == before


def test_a_factory_runs_only_when_it_is_trusted(factory):
    refused(lambda: xai.load(factory), factory.parent)
    refused(lambda: xai.load(factory, trust_remote_code=True), factory.parent)
    assert isinstance(xai.load(factory, trust_code=True).module, nn.Module)
    assert (factory.parent / "MARK").exists()


def test_a_benchmark_cannot_trust_itself(factory, tmp_path):
    photos = write_photos(tmp_path / "photos", 4)
    path = tmp_path / "bench.yaml"
    said = {
        "model": "own.yaml",
        "data": {"images": [str(photo) for photo in photos]},
        "methods": ["center_prior"],
        "protocols": [{"base": "vit-mean", "name": "two", "steps": 2}],
        "metrics": ["srg"],
        "controls": {"center_prior": False, "random_seeds": 1, "sobel": False, "raw_attention": False,
                     "greedy_images": 0},
    }  # fmt: skip
    for place in ({"trust_code": True}, {"model": {"config": "own.yaml", "trust_code": True}}):
        path.write_text(yaml.safe_dump(said | place))
        with pytest.raises(ConfigError, match="unknown key 'trust_code'"):
            read_benchmark(path)
    path.write_text(yaml.safe_dump(said))
    refused(lambda: run_benchmark(path, tmp_path / "run"), tmp_path)
    refused(lambda: estimate(path), tmp_path)
    refused(lambda: tune(path), tmp_path)
    result = run_benchmark(path, tmp_path / "run", trust_code=True)
    assert result.records == 8
    # what is done is read without the model
    factory.unlink()
    assert summarise(tmp_path / "run").images == 4


def test_workers_are_told_and_told_no_more(factory, tmp_path):
    import pickle

    path = tmp_path / "bench.yaml"
    path.write_text(yaml.safe_dump({"model": "own.yaml", "data": {"images": ["x"]}, "methods": ["saliency"]}))
    config = read_benchmark(path)
    for trusted in (False, True):
        sent = pickle.loads(pickle.dumps(RunContext(config, tmp_path, trust_code=trusted)))  # noqa: S301 - our own
        assert sent.trust_code is trusted
        if not trusted:
            refused(lambda sent=sent: sent.classifier, tmp_path)
    assert sent.classifier.labels == ("real", "fake")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise RuntimeError('no luck')", "cannot be imported: RuntimeError: no luck"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
        ("def Made(width): raise KeyError('lost')", "failed: KeyError: 'lost'"),
        ("def Made(width): return {}", "made dict, not a torch module"),
    ],
)
def test_a_factory_that_fails_is_no_fault_of_ours(factory, body, message):
    (module,) = factory.parent.glob("made_*.py")
    module.write_text(body)
    with pytest.raises(ConfigError, match=message):
        xai.load(factory, trust_code=True)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("config.json", {"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config"}}),
        ("config.json", {"attn_implementation": "somebody/kernel"}),
        ("config.json", {"_attn_implementation": "somebody/kernel:run"}),
        ("preprocessor_config.json",
         {"image_processor_type": "Mine", "auto_map": {"AutoImageProcessor": "evil.Processor"}}),
    ],
)  # fmt: skip
def test_code_that_a_folder_names_does_not_run(tmp_path, file, said):
    config = ViTConfig(num_hidden_layers=1, hidden_size=32, num_attention_heads=2, intermediate_size=32)
    tiny.save_pretrained(tmp_path, ViTForImageClassification(config))
    path = tmp_path / file
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'MARK')!r}, 'w')\n")
    with pytest.raises(ModelError, match="trust_remote_code"):
        xai.load(f"local:{tmp_path}")
    assert not (tmp_path / "MARK").exists()


def test_files_that_may_be_templates_are_not_opened():
    from xai.bench.data.files import folder_of
    from xai.core import UsageError

    for url in ("reference://a::file:///x.json", "simplecache::reference://a::memory://x"):
        with pytest.raises(UsageError, match="may hold code"):
            folder_of(url).exists()
