"""Networks that are rebuilt in plain torch, against those of timm with the same random weights."""

import pytest
import torch
from torch import nn

import xai

timm = pytest.importorskip("timm", reason="runs in an environment of its own: make test-interop")
pytestmark = pytest.mark.interop


def noisy(model: nn.Module) -> nn.Module:
    """Gains, biases and statistics that are not those of a fresh model; evaluation mode."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.copy_(torch.randn_like(parameter) * 0.3 + float(name.endswith("weight")))
            elif parameter.ndim == 2:
                parameter.mul_(5)  # as drawn, a transformer hardly looks at its image
            elif parameter.abs().max() < 1e-4:
                parameter.normal_(std=0.2)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        model.train()(torch.randn(4, 3, *model.default_cfg["input_size"][1:]) * 0.5)
    return model.eval()


def loaded(folder, state, *lines):
    torch.save(state, folder / "weights.pth")
    (folder / "d.yaml").write_text("\n".join(["weights: weights.pth", *lines]))
    return xai.load(folder / "d.yaml")


def named(before, state):
    return {before + name: tensor for name, tensor in state.items()}


def assert_alike(got, wanted):
    assert (got - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))
    assert (wanted[0] - wanted[1]).abs().max() > 1e-3


def test_xception(tmp_path):
    model = noisy(timm.create_model("legacy_xception", num_classes=2))
    state = {f"backbone.{k.replace('fc.', 'last_linear.')}": v for k, v in model.state_dict().items()}
    classifier, x = loaded(tmp_path, state), torch.randn(2, 3, 256, 256)
    with torch.no_grad():
        assert_alike(classifier(x), model(x))


def test_community_forensics(tmp_path):
    model = noisy(timm.create_model("vit_small_patch16_224", num_classes=1))
    classifier, x = loaded(tmp_path, named("vit.", model.state_dict())), torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert_alike(classifier(x)[:, 1:] * 2, model(x))


@pytest.mark.parametrize("name", ["vit_pe_core_tiny_patch16_384", "vit_pe_core_base_patch16_224"])
def test_perception_encoder(tmp_path, name):
    """As GenD makes and saves it: of any size, without its own head."""
    tower = noisy(timm.create_model(name, dynamic_img_size=True))
    tower.head = nn.Identity()
    probe = nn.Linear(tower.num_features, 2)
    state = {
        **named("feature_extractor.backbone.", tower.state_dict()),
        **named("model.linear.", probe.state_dict()),
    }
    classifier, x = loaded(tmp_path, state, "head: LinearNorm"), torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert_alike(classifier(x), probe(nn.functional.normalize(tower(x), dim=1)))
