"""Classifier: modules of a user's own, labels, grids, one logit, broken numbers, identity."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import tiny_models as tiny
import torch
import transformers as hf
from PIL import Image
from torch import nn
from vit_zoo import PlainViT

import xai
from xai.attention import find_layout, grid_of
from xai.core import ModelError, PatchGrid, UsageError
from xai.models import Classifier, Preprocessing


def detector(classes: int = 2) -> nn.Module:
    return tiny.BenchDetector(
        tiny.clip_tower(), tiny.randomize(nn.Linear(tiny.WIDTH, classes), seed=1)
    ).eval()


def vit(**config) -> nn.Module:
    return tiny.randomize(hf.ViTForImageClassification(hf.ViTConfig(**tiny.TOWER, **config)))


def snapshot(module: nn.Module) -> dict:
    state = {key: value.clone() for key, value in module.state_dict().items()}
    return {"training": module.training, "keys": set(vars(module)), "state": state}


def assert_unchanged(module: nn.Module, before: dict) -> None:
    after = snapshot(module)
    assert after["training"] == before["training"]
    assert after["keys"] == before["keys"]
    for key, value in before["state"].items():
        assert after["state"][key].dtype == value.dtype
        assert torch.equal(after["state"][key], value)


def test_module_with_labels():
    module = detector()
    before = snapshot(module)
    classifier = xai.load(module, labels=["real", "fake"])
    x = tiny.pixels()
    with torch.no_grad():
        assert torch.equal(classifier(x), module(x))
    assert classifier.module is module
    assert classifier.labels == ("real", "fake")
    assert classifier.grid == PatchGrid(4, 4, 1)
    assert classifier.input_size == (32, 32)
    assert classifier.describe()["heads"] == 1
    assert_unchanged(module, before)


def test_transformers_module_needs_no_labels():
    module = vit(id2label={0: "cat", 1: "dog"})
    classifier = xai.load(module)
    x = tiny.pixels()
    with torch.no_grad():
        assert torch.equal(classifier(x), module(pixel_values=x).logits)
    assert classifier.labels == ("cat", "dog")


def test_names_that_classes_share_are_told_apart_by_number():
    """Every ImageNet model of transformers has two cranes, one a bird."""
    names = {0: "crane", 1: "fox", 2: "crane"}
    assert xai.load(vit(id2label=names)).labels == ("crane (0)", "fox", "crane (2)")


@pytest.mark.parametrize(
    "names",
    [{str(i): f"class {i}" for i in range(12)}, [f"class {i}" for i in range(12)]],
    ids=["numbers as text", "list"],
)
def test_names_in_a_configuration_of_ones_own_are_in_the_order_of_the_logits(names):
    module = nn.Linear(3, 12)
    module.config = SimpleNamespace(id2label=names)
    assert xai.load(module).labels == tuple(f"class {i}" for i in range(12))


def test_names_by_something_else_than_numbers_are_not_guessed_at():
    module = nn.Linear(3, 2)
    module.config = SimpleNamespace(id2label={"real": 0, "fake": 1})
    with pytest.raises(UsageError, match="does not name its classes"):
        xai.load(module)


def test_one_logit_of_a_transformers_module():
    module = vit(id2label={0: "fake"})
    classifier = xai.load(module)
    x = tiny.pixels()
    with torch.no_grad():
        z = module(pixel_values=x).logits[:, 0]
        torch.testing.assert_close(classifier(x).softmax(dim=1)[:, 1], z.sigmoid())
    assert classifier.labels == ("not fake", "fake")


@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_one_logit_becomes_two_classes(squeeze, batch):
    class OneLogit(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = detector(1)

        def forward(self, x):
            z = self.inner(x)
            return z[:, 0] if squeeze else z

    module = OneLogit()
    classifier = xai.load(module, labels=["real", "fake"])
    x = tiny.pixels(batch)
    with torch.no_grad():
        z = module(x).reshape(-1)
        assert torch.equal(classifier(x), torch.stack([-z / 2, z / 2], dim=1))


def test_further_arguments_reach_the_module():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = detector()

        def forward(self, x, shift):
            return self.inner(x) + shift

    module = Shifted()
    x, shift = tiny.pixels(), torch.tensor([1.0, -1.0])
    with torch.no_grad():
        assert torch.equal(xai.load(module, labels=["a", "b"])(x, shift), module(x, shift))


def test_module_without_labels():
    with pytest.raises(UsageError, match=r"BenchDetector does not name its classes[\s\S]*labels="):
        xai.load(detector())


def test_wrong_number_of_labels():
    classifier = xai.load(detector(), labels=["a", "b", "c"])
    with pytest.raises(ModelError, match="has 2 classes but 3 labels: a, b, c"):
        classifier(tiny.pixels())


def test_labels_that_repeat():
    with pytest.raises(UsageError, match="must differ"):
        xai.load(detector(), labels=["real", "real"])


def test_module_without_preprocessing():
    classifier = xai.load(detector(), labels=["real", "fake"])
    with pytest.raises(UsageError, match=r"BenchDetector came without preprocessing[\s\S]*preprocessing="):
        classifier.preprocess(Image.new("RGB", (32, 32)))
    with pytest.raises(UsageError, match="came without preprocessing"):
        classifier.geometry((32, 32))


def test_a_module_of_ones_own_is_explained_with_its_preprocessing():
    steps = Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
    classifier = xai.load(detector(), ["real", "fake"], preprocessing=steps)
    image = Image.new("RGB", (50, 40), (255, 0, 128))
    torch.testing.assert_close(classifier.preprocess(image)[:, 0, 0], torch.tensor([1, -1, 128 / 127.5 - 1]))
    (found,) = xai.explain(image, classifier)
    assert found.maps["fake"].shape == (4, 4)
    assert found.geometry.size == (50, 40)


@pytest.mark.parametrize("transform", ["clip/", {"size": 32}, lambda image: tiny.pixels(1)[0], nn.Identity()])
def test_what_is_no_preprocessing_is_refused(transform):
    with pytest.raises(UsageError, match=r"expected an xai.models.Preprocessing[\s\S]*size="):
        xai.load(detector(), ["real", "fake"], preprocessing=transform)


def test_preprocessing_is_of_modules():
    with pytest.raises(UsageError, match="preprocessing belongs to a module"):
        xai.load("demo", preprocessing=Preprocessing(size=(32, 32)))
    with pytest.raises(UsageError, match="returned as it is"):
        xai.load(xai.load(detector(), ["a", "b"]), preprocessing=Preprocessing(size=(32, 32)))


def test_a_model_of_grey_images_says_so():
    for module in (
        vit(num_channels=1),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    ):
        with pytest.raises(ModelError, match=r"does not take the 3 channels[\s\S]*pixels.mean"):
            xai.load(module, labels=["a", "b"])(tiny.pixels())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_broken_weights_are_named(value):
    module = detector()
    module.head.bias.data[0] = value
    module.backbone.pre_layrnorm.weight.data[3] = value
    with pytest.raises(
        ModelError, match=r"NaN or infinite weights in backbone\.pre_layrnorm\.weight, head\.bias"
    ):
        xai.load(module, labels=["real", "fake"])


class NoConfig(nn.Module):
    """Says neither patch size nor input size."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, 2)

    def forward(self, x):
        return self.head(x.flatten(1))


@pytest.mark.parametrize("module", [NoConfig, PlainViT])
def test_given_patch_grid(module):
    grid = PatchGrid(2, 8, 3)
    classifier = xai.load(module(), labels=["a", "b"], grid=grid)
    assert classifier.grid == grid
    assert grid_of(classifier, tiny.pixels()) == grid


def test_given_rows_and_cols():
    classifier = xai.load(PlainViT(), labels=["a", "b", "c"], grid=(4, 2))
    assert classifier.grid == PatchGrid(4, 2, 1)
    assert grid_of(classifier, torch.zeros(1, 3, 32, 16)) == PatchGrid(4, 2, 1)


def test_given_grid_holds_at_the_input_size():
    """At another size than the standard one, the layout found in the module says it."""
    classifier = xai.load(detector(), labels=["real", "fake"], grid=(4, 4))
    assert grid_of(classifier, tiny.pixels()) == PatchGrid(4, 4, 1)
    assert grid_of(classifier, torch.zeros(1, 3, 48, 64)) == PatchGrid(6, 8, 1)
    assert find_layout(classifier).grid(16, 32) == PatchGrid(2, 4, 1)


def test_grid_that_nothing_says():
    classifier = xai.load(NoConfig(), labels=["a", "b"])
    with pytest.raises(ModelError, match=r"NoConfig does not say its input size[\s\S]*grid=PatchGrid"):
        _ = classifier.grid
    assert xai.load(NoConfig(), labels=["a", "b"], grid=(4, 4)).grid == PatchGrid(4, 4, 0)


@pytest.mark.parametrize(("name", "size"), [("image_size", 32), ("img_size", (32, 24))])
def test_input_size_said_by_the_module(name, size):
    """As torchvision, open_clip and timm do."""
    module = PlainViT()
    setattr(module, name, size)
    classifier = xai.load(module, labels=["a", "b", "c"])
    assert classifier.input_size == (32, 32 if size == 32 else 24)
    assert classifier.grid == PatchGrid(4, 4 if size == 32 else 3, 1)


def test_fingerprint_is_of_the_model_not_of_its_place(tmp_path):
    specs = [tiny.save_pretrained(tmp_path / place, vit()) for place in "ab"]
    first, second = (xai.load(spec).fingerprint for spec in specs)
    assert first == second
    assert len(first) == 64


def test_fingerprint_sees_what_matters():
    def made(module=None, labels=("real", "fake"), **preprocessing):
        steps = Preprocessing(**{"size": (32, 32), **preprocessing})
        return Classifier(module or detector(), labels, name="x", preprocessing=steps).fingerprint

    heads = tiny.BenchDetector(tiny.clip_tower(num_attention_heads=2)).eval()
    gelu = nn.Sequential(detector(), nn.GELU())
    relu = nn.Sequential(detector(), nn.ReLU())
    prints = [
        made(),
        made(labels=("fake", "real")),
        made(mean=(0.5, 0.5, 0.5)),
        made(detector().bfloat16()),
        made(heads),
        made(gelu),
        made(relu),
    ]
    assert len(set(prints)) == len(prints)
    assert made() == prints[0]


def test_fingerprint_is_cached_and_follows_the_weights(monkeypatch):
    classifier = xai.load(detector(), labels=["real", "fake"])
    first = classifier.fingerprint
    calls = []
    original = Classifier.fingerprint.fget.__globals__["fingerprint"]
    monkeypatch.setitem(
        Classifier.fingerprint.fget.__globals__, "fingerprint", lambda *a: calls.append(1) or original(*a)
    )
    assert classifier.fingerprint == first
    assert not calls
    copy = deepcopy(classifier)
    with torch.no_grad():
        copy.module.head.weight.mul_(2)
    assert copy.fingerprint != first
    assert classifier.fingerprint == first
    assert calls == [1]


def test_copies_and_moves():
    module = detector()
    classifier = xai.load(module, labels=["real", "fake"])
    copy = deepcopy(classifier).to(dtype=torch.float64)
    assert copy.dtype == torch.float64
    assert copy.device == torch.device("cpu")
    x = tiny.pixels()
    with torch.no_grad():
        torch.testing.assert_close(copy(x).float(), classifier(x))
    assert classifier.dtype == torch.float32
    assert module.head.weight.dtype == torch.float32


@pytest.mark.parametrize("training", [True, False])
def test_wrapping_keeps_the_mode(training):
    module = detector().train(training)
    assert xai.load(module, labels=["a", "b"]).training is training
    assert module.backbone.training is training


def test_what_is_no_module_is_refused():
    with pytest.raises(UsageError, match="torch.nn.Module; this is a function"):
        Classifier(lambda x: x, ["real", "fake"], name="x")
