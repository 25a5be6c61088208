"""YAML files: the shipped examples, the bench's own, and what is said of a wrong one."""

from pathlib import Path

import pytest
import tiny_models as tiny
import torch
from torch import nn

import xai
from xai.core import ConfigError
from xai.models import Classifier
from xai.models.detector import read_config

CONFIGS = Path(__file__).parents[2] / "configs"
CLIP_MEAN = pytest.approx([0.4815, 0.4578, 0.4082], abs=1e-4)

# the keys and shapes of values of DeepfakeBench's clip.yaml
BENCH = """\
log_dir: /logs_debug/clip
pretrained: /pretrained/xception.pth   # path to a pre-trained model
model_name: clip
backbone_name: vit
backbone_config:
  mode: original
  num_classes: 2
  dropout: false
all_dataset: [FaceForensics++, UADFV]
train_dataset: [FaceForensics++]
test_dataset: [FaceForensics++]
compression: c23
train_batchSize: 32
test_batchSize: 32
workers: 8
frame_num: {'train': 32, 'test': 32}
resolution: 32
with_mask: false
with_landmark: false
use_data_augmentation: true
data_aug:
  flip_prob: 0.5
  rotate_limit: [-10, 10]
mean: [0.5, 0.5, 0.5]
std: [0.25, 0.25, 0.25]
optimizer:
  type: adam
  adam:
    lr: 0.0002
lr_scheduler: null
nEpochs: 10
start_epoch: 0
save_epoch: 1
rec_iter: 100
logdir: ./logs
manualSeed: 1024
save_ckpt: true
save_feat: true
loss_func: cross_entropy
losstype: null
metric_scoring: auc
ngpu: 1
cuda: true
cudnn: true
save_avg: true
"""


class OneLogit(nn.Module):
    """Detector of a user's own; `width` comes from the YAML."""

    def __init__(self, width: int):
        super().__init__()
        self.tower = tiny.clip_tower(image_size=224, patch_size=56)
        self.head = nn.Linear(width, 1)

    def forward(self, pixels):
        return self.head(self.tower(pixels).pooler_output)


def copy_config(name: str, folder: Path, **replaced: str) -> Path:
    """A shipped file with some values replaced, as a user would edit it."""
    text = (CONFIGS / f"{name}.yaml").read_text()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def state_for(name: str) -> dict[str, torch.Tensor]:
    tower = tiny.clip_tower(image_size=224, patch_size=56)
    if name == "effort":
        for layer in tower.encoder.layers:
            layer.self_attn.q_proj = tiny.SVDLinear(layer.self_attn.q_proj)
    if name == "clip_enhanced":
        state = tiny.EnhancedDetector(tower).state_dict()
        before, after = "feature_extractor.", "feature_extractor.base_model.model."
        return {key.replace(before, after): value for key, value in state.items()}
    if name == "gend":
        return tiny.EnhancedDetector(tiny.GenDExtractor(tower)).state_dict()
    return tiny.BenchDetector(tower).state_dict()


def test_every_shipped_file_is_tested_here():
    tested = {"clip", "effort", "clip_enhanced", "gend", "universalfakedetect", "factory", "b_free"}
    one_network = {
        "c2p_clip",
        "community_forensics",
        "efficientnetb4",
        "rine",
        "uia_vit",
        "xception",
    }  # test_one_network.py
    # tests/bench/test_configs.py
    benchmarks = {"clever_hans", "demo", "deepfake_clip", "rise", "survey"}
    benchmarks |= {"methods", "methods_costly", "methods_libra"}
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == tested | one_network | benchmarks


@pytest.mark.parametrize("name", ["clip", "effort", "clip_enhanced", "gend"])
def test_shipped_file(tmp_path, name):
    torch.save(state_for(name), tmp_path / "weights.pth")
    classifier = xai.load(CONFIGS / f"{name}.yaml", weights=tmp_path / "weights.pth")
    described = classifier.describe()
    assert described["family"] == name
    assert described["labels"] == ["real", "fake"]
    assert described["input_size"] == [224, 224]
    assert described["grid"] == {"rows": 4, "cols": 4, "prefix": 1}
    assert described["preprocessing"]["mean"] == ([0.5] * 3 if name == "clip" else CLIP_MEAN)
    assert described["normalize_features"] is (name in ("clip_enhanced", "gend"))


def test_shipped_universalfakedetect(tmp_path):
    tiny.save_pretrained(tmp_path / "tower", tiny.clip_model())
    torch.save({"weight": torch.ones(1, 24), "bias": torch.zeros(1)}, tmp_path / "fc.pth")
    path = copy_config(
        "universalfakedetect", tmp_path, **{"hf:openai/clip-vit-large-patch14": f"local:{tmp_path / 'tower'}"}
    )
    described = xai.load(path, weights=tmp_path / "fc.pth").describe()
    assert described["family"] == "universalfakedetect"
    assert described["preprocessing"]["resize"] is None
    assert described["preprocessing"]["crop"] == [32, 32]


def factory_file(folder: Path, module: str, body: str, **replaced: str) -> Path:
    (folder / f"{module}.py").write_text(body)
    return copy_config("factory", folder, my_detector=module, **replaced)


def test_shipped_factory(tmp_path):
    path = factory_file(tmp_path, "detector_one", f"from {__name__} import OneLogit as MyDetector\n")
    detector = OneLogit(64)
    torch.save({"state_dict": detector.state_dict()}, tmp_path / "own.pth")
    classifier = xai.load(path, weights=tmp_path / "own.pth", trust_code=True)
    x = tiny.pixels(size=224)
    with torch.no_grad():
        z = detector(x)
        torch.testing.assert_close(classifier(x), torch.cat([-z / 2, z / 2], dim=1))
    assert classifier.describe()["family"] == "detector_one:MyDetector"
    assert classifier.grid.rows == 4


TINY = """\
from torch import nn

class MyDetector(nn.Linear):
    def __init__(self, width):
        super().__init__(width, 2)
"""


@pytest.mark.parametrize(
    ("module", "body", "message"),
    [
        ("detector_a", "import no_such_package\n", "cannot be imported: No module named 'no_such_package'"),
        ("detector_b", "class Other: pass\n", "detector_b has no MyDetector"),
        ("detector_c", "def MyDetector(): pass\n", "cannot be called with kwargs"),
        ("detector_d", "def MyDetector(width): return width\n", "made int, not a torch module"),
    ],
)
def test_factory_that_does_not_work(tmp_path, module, body, message):
    with pytest.raises(ConfigError, match=message):
        xai.load(factory_file(tmp_path, module, body), trust_code=True)


def test_factory_that_is_not_there(tmp_path):
    path = copy_config("factory", tmp_path, my_detector="nowhere_at_all")
    with pytest.raises(
        ConfigError,
        match=r"nowhere_at_all cannot be imported[\s\S]*Install its package, or put the module into",
    ):
        xai.load(path, trust_code=True)


def test_factory_weights_that_do_not_fit(tmp_path):
    path = factory_file(tmp_path, "detector_e", TINY)
    torch.save({"weight": torch.zeros(2, 64)}, tmp_path / "own.pth")
    with pytest.raises(xai.core.ModelError, match=r"does not fit detector_e:MyDetector.*\n.*Missing.*bias"):
        xai.load(path, weights=tmp_path / "own.pth", trust_code=True)


def test_two_factories_of_one_name_are_not_mixed_up(tmp_path):
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        path = factory_file(folder, "detector_f", TINY)
        if folder.name == "first":
            assert isinstance(xai.load(path, trust_code=True), Classifier)
    with pytest.raises(ConfigError, match=r"Another module named detector_f[\s\S]*Rename"):
        xai.load(path, trust_code=True)


def test_bench_file_unchanged(tmp_path):
    (tmp_path / "clip.yaml").write_text(BENCH)
    torch.save({"state_dict": tiny.BenchDetector(tiny.clip_tower()).state_dict()}, tmp_path / "ckpt.pth")
    classifier = xai.load(tmp_path / "clip.yaml", weights=tmp_path / "ckpt.pth")
    assert classifier.preprocessing.size == (32, 32)
    assert classifier.preprocessing.std == (0.25, 0.25, 0.25)
    described = classifier.describe()
    assert {"nEpochs", "optimizer", "data_aug", "pretrained"} <= set(described["ignored_config_keys"])
    assert "resolution" not in described["ignored_config_keys"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model_name: clip\nresolutoin: 224\n",
            r"d\.yaml:2: unknown key 'resolutoin'. Did you mean 'resolution'",
        ),
        ("\n\nmodel_name: meso4\n", r"d\.yaml:3: model_name: .*'clip'.*got 'meso4'"),
        ("resolution: many\n", r"d\.yaml:1: resolution: .*integer.*got 'many'"),
        ("mean: [0.5, 0.5]\n", r"d\.yaml:1: mean\[2\]: is missing"),
        ("mean: [123.675, 116.28, 103.53]\n", r"d\.yaml:1: mean\[0\]: .*123.675 is too large.*Divide by 255"),
        ("std: [0.2, 0, -0.2]\n", r"d\.yaml:1: std\[1\]: [\s\S]*d\.yaml:1: std\[2\]: .*greater than 0"),
        ("std: [0.2, 0.2, 57.4]\n", r"d\.yaml:1: std\[2\]: .*57.4 is too large"),
        (
            "resize: stretch\nresolution: -3\n",
            r"d\.yaml:1: resize[\s\S]*d\.yaml:2: resolution: .*greater than 0",
        ),
        ("factory: my_detector.MyDetector\n", r"d\.yaml:1: factory"),
        ("labels: [a]\nlabels: [b]\n", r"d\.yaml:2: 'labels' is said twice"),
        ("- clip\n", "must hold `key: value` lines"),
        ("", "must hold `key: value` lines"),
        ("1: 2\n", r"d\.yaml:1: the key '1' is no text"),
        ("mean: [0.5\n", "cannot be read as YAML"),
        ("kwargs: !!python/object/apply:os.getcwd []\n", r"d\.yaml:1: the tag !!python\S+ is not understood"),
    ],
)
def test_wrong_file(tmp_path, text, message):
    path = tmp_path / "d.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="no configuration file"):
        xai.load(tmp_path / "d.yaml")


def test_file_without_weights():
    with pytest.raises(ConfigError, match=r"names no weights[\s\S]*--weights"):
        xai.load(CONFIGS / "clip.yaml")


def test_half_of_the_preprocessing(tmp_path):
    path = factory_file(tmp_path, "detector_g", TINY, **{"mean: [0.5, 0.5, 0.5]\n": ""})
    with pytest.raises(ConfigError, match="but not mean"):
        xai.load(path, trust_code=True)
