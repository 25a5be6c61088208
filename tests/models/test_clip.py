"""The CLIP tower in plain torch against that of transformers, with the same weights."""

import pytest
import tiny_models as tiny
import torch
from checkpoints import write
from torch import nn

import xai
from xai.attr import create
from xai.core import ModelError
from xai.models.classifier import Classifier
from xai.models.clip import CLIPVisionModel, build_clip_tower
from xai.models.detector import Detector
from xai.models.tower import TowerOptions


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "relu"])
def test_its_numbers(activation):
    theirs = tiny.clip_tower(num_attention_heads=4, hidden_act=activation)
    ours = build_clip_tower(theirs.state_dict(), TowerOptions(4, activation))
    assert not ours.training
    with torch.no_grad():
        expected, got = theirs(tiny.pixels(3)), ours(tiny.pixels(3))
    for name in ("last_hidden_state", "pooler_output"):
        assert (getattr(got, name) - getattr(expected, name)).abs().max() <= 1e-6, name


def test_its_gradients():
    theirs, x = tiny.clip_tower(), tiny.pixels().requires_grad_()
    ours = build_clip_tower(theirs.state_dict(), TowerOptions())
    for read in (lambda output: output.pooler_output, lambda output: output.last_hidden_state[:, 1:]):
        expected, got = (torch.autograd.grad(read(tower(x)).square().sum(), x)[0] for tower in (theirs, ours))
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


def test_names_of_older_versions():
    state = tiny.clip_tower().state_dict()
    older = {f"vision_model.{name}": tensor for name, tensor in state.items()}
    for name, tensor in build_clip_tower(older, TowerOptions()).state_dict().items():
        assert torch.equal(tensor, state[name]), name
    del older["vision_model.post_layernorm.bias"]
    with pytest.raises(ModelError, match=r"missing: vision_model\.post_layernorm\.bias\.$"):
        build_clip_tower(older, TowerOptions())


def test_weights_keep_their_type():
    theirs = tiny.clip_tower().bfloat16()
    ours = build_clip_tower(theirs.state_dict(), TowerOptions())
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.bfloat16}
    x = tiny.pixels().bfloat16()
    with torch.no_grad():
        assert torch.equal(ours(x).pooler_output, theirs(x).pooler_output)


def test_weights_that_lie_across_memory_can_be_written_to():
    state = tiny.clip_tower().state_dict()
    state["embeddings.class_embedding"] = torch.ones(1).expand(tiny.WIDTH)
    tower = build_clip_tower(state, TowerOptions())
    with torch.no_grad():
        tower.embeddings.class_embedding[0] = 2
    assert tower.embeddings.class_embedding.tolist() == [2.0] + [1.0] * (tiny.WIDTH - 1)


@pytest.mark.parametrize("size", [(40, 40), (16, 64)], ids=["larger", "as many patches"])
def test_another_size_of_image_is_refused(tmp_path, size):
    classifier = xai.load(write(tmp_path, tiny.BenchDetector(tiny.clip_tower()).state_dict()))
    assert isinstance(classifier.module, Detector)
    assert isinstance(classifier.module.tower, CLIPVisionModel)
    with pytest.raises(ModelError, match=r"built for 32×32 pixels and does not take the (40×40|16×64)"):
        classifier(torch.zeros(1, 3, *size))


def test_a_detector_has_the_fingerprint_that_it_has_with_their_tower(tmp_path):
    """Runs that were stored know their model again."""
    bench = tiny.BenchDetector(tiny.clip_tower())
    loaded = xai.load(write(tmp_path, bench.state_dict()))
    assert isinstance(loaded.module, Detector)
    head = nn.Linear(tiny.WIDTH, 2).eval()
    head.load_state_dict(loaded.module.head.state_dict())
    theirs = Classifier(
        Detector(tiny.clip_tower(), head, "pooled").eval(),
        loaded.labels,
        name="x",
        preprocessing=loaded.preprocessing,
    )
    assert loaded.fingerprint == theirs.fingerprint
    for name in ("gradient_weighted_attention", "attn_lrp", "token_grad_cam"):
        expected, got = (
            create(name, model).attribute_patches(tiny.pixels(), 1) for model in (theirs, loaded)
        )
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6, msg=name)
