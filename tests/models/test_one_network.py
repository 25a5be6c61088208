"""Published detectors that load as one network: each equals a forward pass written apart from it."""

import warnings

import pytest
import torch
from checkpoints import write
from published_weights import LAYOUTS, expected, load, named, pixels

import xai
from xai import metrics
from xai.core import ModelError
from xai.explanation.explainer import choose_method
from xai.models import list_families

pytestmark = pytest.mark.filterwarnings("ignore:.*reads the class token of every layer")
every_layout = pytest.mark.parametrize("name", LAYOUTS)


@every_layout
def test_logits_are_those_of_the_published_forward_pass(tmp_path, name):
    state, x = LAYOUTS[name][0](), pixels(name, 3)
    classifier = load(tmp_path, name, state)
    with torch.no_grad():
        wanted, got = expected(name, state, x), classifier(x)
    assert (got - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))
    assert (wanted[0] - wanted[1]).abs().max() > 1e-2
    assert classifier.labels == ("real", "fake")
    assert classifier.describe()["family"] == name
    assert not classifier.module.training


@every_layout
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": named("module.", state), "epoch": 3},
        lambda state: {"model": named("net.", state), "optimizer": {"state": {}, "param_groups": []}},
        lambda state: {"model_state_dict": named("_orig_mod.module.detector.", state)},
    ],
    ids=["state_dict+module.", "model+net.", "compiled+module.+detector."],
)
def test_wrapped_checkpoints(tmp_path, name, wrap):
    state, x = LAYOUTS[name][0](), pixels(name, 1)
    classifier = load(tmp_path, name, wrap(state))
    with torch.no_grad():
        torch.testing.assert_close(classifier(x), expected(name, state, x), rtol=1e-4, atol=1e-5)


@every_layout
def test_further_heads_are_named_and_can_be_ignored(tmp_path, name):
    state = LAYOUTS[name][0]()
    more = {**state, "contrastive.weight": torch.zeros(8, 8), "contrastive.bias": torch.zeros(8)}
    with pytest.raises(ModelError, match=rf"{name} does not know: contrastive\.bias[\s\S]*ignore_keys"):
        load(tmp_path, name, more)
    assert load(tmp_path, name, more, "ignore_keys: [contrastive.]").describe()["family"] == name


@every_layout
def test_the_default_explanation_and_a_deletion_curve(tmp_path, name):
    classifier, x = load(tmp_path, name, LAYOUTS[name][0]()), pixels(name, 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The classifier reads patch tokens directly")
        relevance = choose_method(classifier).attribute_patches(x, 1)
    assert relevance.shape == (2, classifier.grid.rows, classifier.grid.cols)
    assert (relevance[0] - relevance[1]).abs().max() > 0
    curve = metrics.deletion(classifier, x, relevance, 1, metrics.protocol("vit-mean").replace(steps=4))
    assert curve.values.shape == (2, 5)
    real, fake = classifier(x).detach().T
    assert curve.clean.tolist() == pytest.approx((fake - real).tolist(), rel=1e-4)


def test_every_family_says_where_it_comes_from():
    for family in list_families():
        assert family.source
        assert family.summary.endswith(".")
        assert (family.build is None) == bool(family.refused)


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("model_name: tall", {"x.weight": torch.zeros(2, 2)}),
        (
            "",
            {
                "model.head.weight": torch.zeros(2, 8),
                "model.layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(9, 2),
            },
        ),
        (
            "",
            {f"attention_head.{name}.weight": torch.zeros(2, 2) for name in ("query", "key", "value", "fc")},
        ),
        ("", {"module.mfvit.vit.norm.bias": torch.zeros(2), "module.patch_aggregator": torch.zeros(1, 2)}),
        (
            "model_name: fatformer",
            {
                "language_guided_alignment.ctx": torch.zeros(2, 2),
                "text_guided_interactor.in_proj_bias": torch.zeros(2),
            },
        ),
    ],
    ids=["tall by name", "tall", "d3", "spai", "fatformer"],
)
def test_what_is_not_rebuilt_is_refused_by_name(tmp_path, line, state):
    with pytest.raises(
        ModelError, match=r"(tall|d3|spai|fatformer) \(github.*not rebuilt here: it [\s\S]*factory"
    ):
        xai.load(write(tmp_path, state, line))
