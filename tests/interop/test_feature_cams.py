"""Class activation maps beside grad-cam's and torchcam's own raw values, on the layers that they document."""

from collections.abc import Callable

import pytest
import torch
from open_attention import relative
from torch import Tensor, nn

from xai.attr import GradCAM, create

pytestmark = pytest.mark.interop

WHERE = "runs in an environment of its own: make test-interop"
torchvision = pytest.importorskip("torchvision", reason=WHERE)
timm = pytest.importorskip("timm", reason=WHERE)
pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason=WHERE, exc_type=ImportError)
torchcam = pytest.importorskip("torchcam.methods", reason=WHERE, exc_type=ImportError)

TARGET = 1
TV = torchvision.models
SMALL = {"pretrained": False, "num_classes": 3}


def last(x: Tensor) -> Tensor:
    """(B, h, w, C) → (B, C, h, w)."""
    return x.permute(0, 3, 1, 2)


# model, the layer that pytorch-grad-cam's documents name for it, its reshape_transform
MODELS = {
    "torchvision ResNet-18": (lambda: TV.resnet18(num_classes=3), "layer4.1", None),
    "torchvision ResNet-50": (lambda: TV.resnet50(num_classes=3), "layer4.2", None),
    "torchvision Swin-T": (lambda: TV.swin_t(num_classes=3), "norm", last),
    "timm ConvNeXt": (lambda: timm.create_model("convnext_atto", **SMALL), "stages.3.blocks.1", None),
    "timm Swin-T": (lambda: timm.create_model("swin_tiny_patch4_window7_224", **SMALL), "norm", last),
}
GRAD_CAM = {
    "grad_cam": pytorch_grad_cam.GradCAM,
    "hires_cam": pytorch_grad_cam.HiResCAM,
    "layer_cam": pytorch_grad_cam.LayerCAM,
    "grad_cam_plus_plus": pytorch_grad_cam.GradCAMPlusPlus,
    "eigen_cam": pytorch_grad_cam.EigenCAM,
}
TORCHCAM = {
    "grad_cam": torchcam.GradCAM,
    "layer_cam": torchcam.LayerCAM,  # its Grad-CAM++ divides a copy of α, so that nothing is divided
}


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module, Callable | None, Tensor]:
    make, layer, reshape = MODELS[request.param]
    torch.manual_seed(0)
    model = make().eval()
    for parameter in model.parameters():
        if (parameter == 0).all():
            nn.init.normal_(parameter, std=0.02)
    with torch.no_grad():
        list(model.parameters())[-2].mul_(1e6)  # so that what grad-cam adds to a denominator does not count
    return model.double(), model.get_submodule(layer), reshape, torch.randn(2, 3, 224, 224).double()


def raw_of_grad_cam(
    peer: type, model: nn.Module, layer: nn.Module, reshape: Callable | None, x: Tensor
) -> Tensor:
    """What it computes before its ReLU, its scaling to 0 … 1 and its enlargement."""
    targets = [pytorch_grad_cam.utils.model_targets.ClassifierOutputTarget(TARGET)] * len(x)
    with peer(model, [layer], reshape_transform=reshape) as cam:
        logits = cam.activations_and_grads(x)
        logits[:, TARGET].sum().backward()
        record = cam.activations_and_grads
        features, gradients = record.activations[0].numpy(), record.gradients[0].numpy()
        raw = cam.get_cam_image(x, layer, targets, features, gradients, False)
    model.zero_grad()
    return torch.as_tensor(raw)


@pytest.mark.parametrize("name", GRAD_CAM)
def test_as_grad_cam_has_it(case, name: str) -> None:
    model, layer, reshape, x = case
    theirs = raw_of_grad_cam(GRAD_CAM[name], model, layer, reshape, x)
    ours = create(name, model, relu=False).attribute_native(x, TARGET)
    if name == "eigen_cam":  # whose sign the peer leaves to LAPACK
        theirs = theirs * (theirs * ours).sum((1, 2), keepdim=True).sign()
    assert relative(ours, theirs) <= 1e-5


@pytest.mark.parametrize("name", TORCHCAM)
def test_as_torchcam_has_it(case, name: str) -> None:
    model, layer, reshape, x = case
    extractor = TORCHCAM[name](model, layer, **({"reshape_transform": reshape} if reshape else {}))
    try:
        (theirs,) = extractor(TARGET, model(x), normalized=False)
    finally:
        extractor.remove_hooks()
    model.zero_grad()
    ours = create(name, model).attribute_native(x, TARGET)
    if not theirs.any():
        assert not ours.any()
    else:
        assert relative(ours, theirs.detach()) <= 1e-5


@pytest.fixture(scope="module")
def densenet() -> tuple[nn.Module, nn.Module, Tensor]:
    """A DenseNet, and the same with the ReLU behind its last norm no longer in place."""
    torch.manual_seed(0)
    model = TV.densenet121(num_classes=3).eval().double()
    model.classifier.weight.data.mul_(1e6)  # see `case`
    nn.init.normal_(model.classifier.bias)
    plain = nn.Sequential(
        model.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.classifier
    ).eval()
    return model, plain, torch.randn(2, 3, 64, 64).double()


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "layer_cam", "grad_cam_plus_plus"])
def test_densenet_as_grad_cam_has_it_without_the_relu_in_place(densenet, name: str) -> None:
    model, plain, x = densenet
    assert torch.equal(model(x), plain(x))
    layer = model.features.norm5  # in place, ReLU writes over what the peer keeps of it
    theirs = raw_of_grad_cam(GRAD_CAM[name], plain, layer, None, x)
    for path in ("features.norm5", None):
        ours = create(name, model, layer=path, relu=False).attribute_native(x, TARGET)
        assert relative(ours, theirs) <= 1e-5
    if name == "grad_cam":
        assert relative(raw_of_grad_cam(GRAD_CAM[name], model, layer, None, x), theirs) > 0.1


def test_densenet_as_torchcam_has_it_without_the_relu_in_place(densenet) -> None:
    model, plain, x = densenet
    maps = []
    for one in (plain, model):
        with torchcam.GradCAM(one, model.features.norm5) as extractor:
            maps.append(extractor(TARGET, one(x), normalized=False)[0].detach())
    ours = create("grad_cam", model, layer="features.norm5").attribute_native(x, TARGET)
    assert relative(ours, maps[0]) <= 1e-5
    assert relative(maps[1], maps[0]) > 0.1


@pytest.fixture(scope="module")
def score_cam() -> tuple[nn.Module, Tensor, Tensor]:
    """A model, images, and Score-CAM of them before the ReLU."""
    torch.manual_seed(0)
    model, x = TV.resnet18(num_classes=3).eval().double(), torch.randn(2, 3, 64, 64).double()
    return model, x, create("score_cam", model, relu=False).attribute_native(x, TARGET)


@pytest.mark.parametrize("corners", [False, True])
def test_score_cam_as_grad_cam_has_it_but_for_the_corners(score_cam, corners: bool, monkeypatch) -> None:
    """Its masks are enlarged corner on corner; with cells about their centres both agree."""
    model, x, ours = score_cam
    enlarging = {"mode": "bilinear", "align_corners": corners}
    monkeypatch.setattr(nn, "UpsamplingBilinear2d", lambda size: nn.Upsample(size=size, **enlarging))
    targets = [pytorch_grad_cam.utils.model_targets.ClassifierOutputTarget(TARGET)] * len(x)
    with pytorch_grad_cam.ScoreCAM(model, [model.layer4]) as cam, torch.no_grad():
        cam.activations_and_grads(x)
        features = cam.activations_and_grads.activations[0].numpy()
        theirs = torch.as_tensor(cam.get_cam_image(x, model.layer4, targets, features, None))
    apart = relative(ours, theirs)
    assert apart > 1e-3 if corners else apart <= 1e-5


def test_score_cam_as_torchcam_has_it(score_cam) -> None:
    model, x, ours = score_cam
    with torchcam.ScoreCAM(model, "layer4") as extractor, torch.no_grad():
        (theirs,) = extractor(TARGET, model(x), normalized=False)
    assert theirs.any() and relative(ours.clamp_min(0), theirs) <= 1e-5


def test_layers_of_many_families() -> None:
    """The module found, of families whose last maps have every shape."""
    expected = {
        "coatnet_nano_rw_224": ("norm", 7),
        "davit_tiny": ("stages", 7),
        "hiera_tiny_224": ("blocks.11", 7),
        "mixer_s32_224": ("norm", 7),
        "poolformer_s12": ("stages", 7),
        "pvt_v2_b0": ("stages", 7),
        # two blocks of class attention read its patches, each past a norm of its own: neither has it all
        "cait_xxs24_224": ("blocks", 14),
    }
    found = {}
    for name in expected:
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False, num_classes=3).eval()
        for parameter in model.parameters():
            if (parameter == 0).all():
                nn.init.normal_(parameter, std=0.02)
        one = GradCAM(model).feature_map(torch.randn(1, 3, 224, 224))
        assert one.size[0] == one.size[1]
        found[name] = (one.name, one.size[0])
    assert found == expected
