"""Published detectors that load as one network: what is particular to each."""

import json
from pathlib import Path
from typing import Any

import published_forwards as plain
import pytest
import tiny_models as tiny
import torch
from checkpoints import write
from huggingface_hub import PyTorchModelHubMixin
from published_weights import (
    LAYOUTS,
    State,
    c2p_clip,
    community_forensics,
    expected,
    gend,
    linear,
    load,
    named,
    openai_names,
    pixels,
    rine,
    rine_head,
    timm_vit,
    uia_vit,
    xception,
)
from safetensors.torch import save_file
from torch import nn

import xai
from xai import metrics
from xai.attention import diagnose
from xai.attr import create
from xai.core import ConfigError, ModelError
from xai.explanation import examine
from xai.explanation.explainer import choose_method

pytestmark = pytest.mark.filterwarnings("ignore:.*reads the class token of every layer")

CONFIGS = Path(__file__).parents[2] / "configs"


def at_size(state: State, rows: int, patch: int) -> State:
    """The same with a grid of so many rows and patches of that side."""
    state = dict(state)
    position = next(n for n in state if "pos_embed" in n or "position" in n)
    shape = state[position].shape
    state[position] = torch.randn(*shape[:-2], 1 + rows**2, shape[-1]) * 0.2
    kernel = next(n for n in state if state[n].ndim == 4)
    state[kernel] = torch.randn(*state[kernel].shape[:2], patch, patch) * 0.05
    return state


# grid and patch of what the shipped file is for, None where any size is taken
SHIPPED = {
    "c2p_clip": (16, 14),
    "community_forensics": (24, 16),
    "rine": (16, 14),
    "uia_vit": (14, 16),
    "xception": None,
    "efficientnetb4": None,
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_says_what_was_published(tmp_path, name):
    """With it and without, images are prepared alike."""
    state = LAYOUTS[name][0]()
    state = state if SHIPPED[name] is None else at_size(state, *SHIPPED[name])
    torch.save(state, tmp_path / "weights.pth")
    with_file = xai.load(CONFIGS / f"{name}.yaml", weights=tmp_path / "weights.pth")
    (tmp_path / "bare.yaml").write_text(f"model_name: {name}\nweights: weights.pth\n")
    assert with_file.preprocessing == xai.load(tmp_path / "bare.yaml").preprocessing


def test_c2p_clip_is_prepared_as_published(tmp_path):
    described = load(tmp_path, "c2p_clip", c2p_clip()).describe()
    assert (described["feature"], described["normalize_features"]) == ("projected", True)
    prepared = described["preprocessing"]
    assert (prepared["resize"], prepared["crop"]) == ({"shortest_edge": 32}, [32, 32])
    assert (prepared["interpolation"], prepared["mean"][0]) == ("bilinear", 0.48145466)


@pytest.mark.parametrize(("rows", "side", "edge"), [(14, 224, 256), (24, 384, 440)])
def test_community_forensics_is_prepared_as_published(tmp_path, rows, side, edge):
    state = at_size(community_forensics(), rows, 16)
    prepared = xai.load(write(tmp_path, state)).describe()["preprocessing"]
    assert (prepared["resize"], prepared["crop"]) == ({"shortest_edge": edge}, [side, side])
    assert (prepared["interpolation"], prepared["mean"]) == ("bilinear", [0.485, 0.456, 0.406])


def test_community_forensics_of_another_size_asks_how_it_is_resized(tmp_path):
    with pytest.raises(ConfigError, match="resize_to"):
        xai.load(write(tmp_path, community_forensics()))


def test_another_vit_of_timm_is_no_community_forensics(tmp_path):
    state = named("vit.", {**timm_vit(), **named("head.", linear(3, 64))})
    with pytest.raises(ModelError, match=r"one logit; this one has 3[\s\S]*timm:local-dir"):
        xai.load(write(tmp_path, state, "resize_to: 37"))


class Mixin(nn.Module, PyTorchModelHubMixin):
    """As the published class: its arguments are what the mixin writes."""

    def __init__(
        self, model_size="small", input_size=384, patch_size=16, freeze_backbone=False, device="cpu"
    ):
        super().__init__()
        self.vit = nn.Module()
        self.vit.head = nn.Linear(64, 1)


def test_a_folder_that_the_hub_mixin_wrote(tmp_path):
    Mixin(device="cuda", input_size=224, patch_size=16).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written == {
        "device": "cuda",
        "freeze_backbone": False,
        "input_size": 224,
        "model_size": "small",
        "patch_size": 16,
    }
    state = at_size(community_forensics(), 14, 16)
    save_file(state, tmp_path / "model.safetensors")
    classifier, x = xai.load(f"local:{tmp_path}"), tiny.pixels(1, size=224)
    with torch.no_grad():
        torch.testing.assert_close(
            classifier(x), expected("community_forensics", state, x), atol=1e-5, rtol=1e-4
        )
    assert classifier.preprocessing.shortest_edge == 256
    (tmp_path / "config.json").write_text(json.dumps(written | {"input_size": 384}))
    with pytest.raises(ConfigError, match="resolution: 384, but the tower takes 224×224"):
        xai.load(f"local:{tmp_path}")


@pytest.mark.parametrize("width", [24, 64], ids=["projected", "penultimate"])
@pytest.mark.parametrize("whole", [False, True], ids=["head alone", "with its tower"])
def test_universalfakedetect_reads_the_feature_that_its_head_is_wide(tmp_path, width, whole):
    model, head, x = tiny.clip_model(), linear(1, width), tiny.pixels()
    lines = ["model_name: universalfakedetect"]
    if whole:
        visual = openai_names(model.vision_model.state_dict())
        visual["proj"] = model.visual_projection.weight.T
        text = {"token_embedding.weight": torch.zeros(5, 4), "logit_scale": torch.zeros(())}
        state = {**named("model.visual.", visual), **named("model.", text), **named("fc.", head)}
        content: dict[str, Any] = {
            "model": state,
            "optimizer": {"state": {}, "param_groups": []},
            "total_steps": 9,
        }
    else:
        tiny.save_pretrained(tmp_path / "tower", model)
        content = dict(head)
        lines.append("backbone: local:tower")
    classifier = xai.load(write(tmp_path, content, *lines))
    pooled = plain.clip_pooled(model.vision_model.state_dict(), x)
    feature = pooled if width == 64 else pooled @ model.visual_projection.weight.T
    with torch.no_grad():
        z = feature @ head["weight"].T + head["bias"]
        assert (classifier(x) - torch.cat([-z / 2, z / 2], 1)).abs().max() <= 1e-5 * max(
            1.0, float(z.abs().max())
        )
    assert classifier.describe()["feature"] == ("pooled" if width == 64 else "projected")
    assert classifier.preprocessing.crop == (32, 32)


def test_a_head_that_fits_neither_feature(tmp_path):
    tiny.save_pretrained(tmp_path / "tower", tiny.clip_model())
    with pytest.raises(ModelError, match=r"reads 30 features; the tower gives 24 \(projected\) or 64"):
        xai.load(write(tmp_path, linear(1, 30), "backbone: local:tower"))


def test_rine_reads_every_layer_and_says_so(tmp_path):
    tiny.save_pretrained(tmp_path / "tower", tiny.clip_model())
    with pytest.warns(UserWarning, match="reads the class token of every layer.*all_layers"):
        classifier = xai.load(write(tmp_path, rine_head(), "backbone: local:tower"))
    x = tiny.pixels(3)
    wanted = plain.rine(rine_head(), tiny.clip_model().vision_model.state_dict(), x)
    with torch.no_grad():
        torch.testing.assert_close(
            classifier(x), torch.cat([-wanted / 2, wanted / 2], 1), rtol=1e-5, atol=1e-5
        )
    findings = examine(classifier)
    assert findings["read_in"].startswith("every layer")
    assert findings["attention_seen"] == "2 of 2"
    assert max(findings["parity"].values()) < 1e-5
    assert classifier.preprocessing.crop == (32, 32)
    assert classifier.preprocessing.size is None


def test_rine_is_explained_through_its_first_layers_too(tmp_path):
    """The head reads the first layer past the last one; what looks at the last block's output is refused."""
    classifier, x = load(tmp_path, "rine", rine()), tiny.pixels(1)
    maps = create("gradient_weighted_attention", classifier).attribute_layers(x, 1)[0]
    assert maps.shape[0] == 2
    assert (maps.abs().amax((1, 2, 3)) > 0).all()
    with pytest.raises(ModelError, match="whose last one returns all that the classifier reads"):
        create("legrad", classifier).attribute_patches(x, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rine_head(layers=3), r"weights the layers by alpha \(1, 3, 8\); the tower has 2"),
        (rine_head(width=32), "head reads 32 features; the tower or the layer before gives 64"),
        ({**rine_head(), "alpha": torch.zeros(1, 2, 9)}, "reads 8 features; .* gives 9"),
        (
            {**rine_head(), "proj1.7.weight": torch.zeros(5, 8)},
            "weights 8 features of each layer, but .* make 5, 8",
        ),
    ],
    ids=["other depth", "other width", "other features", "odd projection"],
)
def test_a_head_of_rine_for_another_tower(tmp_path, change, message):
    tiny.save_pretrained(tmp_path / "tower", tiny.clip_model())
    with pytest.raises(ModelError, match=message):
        xai.load(write(tmp_path, change, "backbone: local:tower"))


def test_rine_needs_its_tower(tmp_path):
    with pytest.raises(ConfigError, match="backbone: local:DIR"):
        xai.load(write(tmp_path, rine_head()))


def test_uia_vit_reads_patches_so_that_they_cannot_be_masked(tmp_path):
    classifier, x = load(tmp_path, "uia_vit", uia_vit()), tiny.pixels(1)
    with pytest.warns(UserWarning, match="reads patch tokens directly, not through attention alone"):
        relevance = create("integrated_mask_gradient", classifier, n_steps=2).attribute_patches(x, 1)
    with pytest.raises(
        ModelError, match=r"cannot be removed by masking: the classifier reads[\s\S]*vit-mean"
    ):
        metrics.deletion(classifier, x, relevance, 1, metrics.protocol("vit-token"))
    found = diagnose(classifier, x)
    assert len(found.heads) == 9
    assert max(found.attention_error, found.gradient_error, found.logit_error) < 1e-5
    assert classifier.preprocessing.size == (32, 32)
    assert classifier.preprocessing.mean == (0.5, 0.5, 0.5)


def test_uia_vit_of_too_few_layers(tmp_path):
    with pytest.raises(ModelError, match="from the 8th on; this tower has 7"):
        xai.load(write(tmp_path, uia_vit(7)))


@pytest.mark.parametrize("name", ["xception", "efficientnetb4"])
def test_feature_maps_are_explained_by_cams_and_gradients(tmp_path, name):
    classifier, x = load(tmp_path, name, LAYOUTS[name][0]()), pixels(name, 1)
    assert choose_method(classifier).info.name == "integrated_gradients"
    for method in ("grad_cam", "layer_cam"):
        maps = create(method, classifier).attribute_targets(x, [0, 1])  # a clamped one may be blank for one
        assert maps.abs().max() > 0
    with pytest.raises(ModelError, match="no attention"):
        create("gradient_weighted_attention", classifier).attribute_patches(x, 1)


@pytest.mark.parametrize("before", ["", "model."])
def test_xception_under_the_names_of_faceforensics(tmp_path, before):
    """Its Linear stands behind a dropout there, and batches were not counted yet."""
    state = {before + key.removeprefix("backbone."): value for key, value in xception().items()}
    state = {key.replace("last_linear.", "last_linear.1."): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    classifier, x = load(tmp_path, "xception", state), pixels("xception", 2)
    with torch.no_grad():
        torch.testing.assert_close(classifier(x), plain.xception(xception(), x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["shallow_xception", "adjust_channel"])
def test_another_mode_of_the_bench_is_refused(tmp_path, mode):
    with pytest.raises(ConfigError, match=rf"mode: {mode}, a variant[\s\S]*mode: original"):
        load(tmp_path, "xception", xception(), f"backbone_config: {{mode: {mode}, num_classes: 2}}")
    load(tmp_path, "xception", xception(), "backbone_config: {mode: Original, inc: 3, dropout: false}")


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        (
            "xception",
            "backbone.last_linear.weight",
            torch.zeros(2, 23),
            "head reads 23 features; .* gives 24",
        ),
        ("xception", "backbone.block3.skipbn.bias", None, r"fit an Xception: missing: block3\.skipbn\.bias"),
        ("xception", "backbone.block2.rep.1.pointwise.weight", torch.zeros(12, 8), "expected 4 dimensions"),
        ("xception", "backbone.block2.more", torch.zeros(3), "unexpected: block2.more"),
        (
            "efficientnetb4",
            "backbone.last_layer.weight",
            torch.zeros(2, 9),
            "head reads 9 features; .* gives 20",
        ),
        (
            "efficientnetb4",
            "backbone.efficientnet._blocks.3._bn1.bias",
            None,
            r"missing: _blocks\.3\._bn1\.bias",
        ),
        ("efficientnetb4", "backbone.efficientnet._blocks.12._bn1.bias", torch.zeros(3), "without a gap"),
        ("efficientnetb4", "backbone.efficientnet._fc.bias", torch.zeros(3), r"unexpected: _fc\.bias"),
    ],
)
def test_convolutions_that_do_not_fit(tmp_path, name, key, value, message):
    state = {**LAYOUTS[name][0](), key: value}
    with pytest.raises(ModelError, match=message):
        load(tmp_path, name, {k: v for k, v in state.items() if v is not None})


def test_gend_on_a_perception_encoder_is_pooled_by_attention(tmp_path):
    classifier, x = load(tmp_path, "gend", gend()), tiny.pixels(2)
    found = diagnose(classifier, x)
    assert (found.probe.readout, found.probe.layers) == ("pooling head", 3)
    assert max(found.attention_error, found.gradient_error, found.logit_error) < 1e-5
    relevance = create("integrated_mask_gradient", classifier, n_steps=2).attribute_patches(x, 1)
    metrics.deletion(classifier, x, relevance, 1, metrics.protocol("vit-token").replace(steps=4))


def test_gend_on_a_perception_encoder_takes_another_size_than_it_was_trained_at(tmp_path):
    """As GenD does: positions are resampled, and places of the rotary embedding scaled."""
    path = write(tmp_path, gend(), "head: LinearNorm", "resolution: 48")
    classifier, x = xai.load(path), tiny.pixels(2, size=48)
    with torch.no_grad():
        torch.testing.assert_close(
            classifier(x), plain.gend_perception_encoder(gend(), x), rtol=1e-4, atol=1e-5
        )
    assert (classifier.grid.rows, classifier.grid.cols, classifier.grid.prefix) == (6, 6, 1)
    (tmp_path / "bare.yaml").write_text("weights: weights.pth\nhead: linear\n")
    prepared = xai.load(tmp_path / "bare.yaml").describe()["preprocessing"]
    assert (prepared["resize"], prepared["crop"]) == ({"shortest_edge": 224}, [224, 224])
    assert (prepared["interpolation"], prepared["mean"]) == ("bicubic", [0.5, 0.5, 0.5])
