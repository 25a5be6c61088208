"""LRP through features of unit length, against relevance propagated contribution by contribution."""

from collections.abc import Callable

import pytest
import tiny_models as tiny
import torch
import torch.nn.functional as F
from lrp_oracle import Rules, read_out
from torch import Tensor, nn
from vit_zoo import WIDTH, build, pixels

from xai.attr import CPLRP, AttnLRP, TransLRP
from xai.models.detector import Detector, TextSimilarity
from xai.models.huggingface import ZeroShot

GAMMAS = {"gamma": 0.3, "gamma_attention": 0.1, "gamma_embedding": 0.5}
METHODS = pytest.mark.parametrize("method", [AttnLRP, CPLRP])


class Normalised(nn.Module):
    """CLIP's tower, its pooled feature at unit length, a linear head."""

    def __init__(self, normalise: Callable[[Tensor], Tensor]):
        super().__init__()
        inner = build("clip")
        self.tower, self.head, self.normalise = inner.model, inner.head, normalise
        self.config = inner.model.config

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.normalise(self.tower(pixel_values=x).pooler_output))


NORMALISE = {
    "positional": (2.0, 0.0, lambda f: F.normalize(f, 2.0, 1)),
    "keyword": (2.0, 0.0, lambda f: F.normalize(f, dim=1)),
    "negative": (2.0, 0.0, lambda f: F.normalize(f, dim=-1)),
    "p=1": (1.0, 0.0, lambda f: F.normalize(f, p=1.0, dim=-1)),
    "p=3": (3.0, 0.0, lambda f: F.normalize(f, 3, -1)),
    "eps": (2.0, 100.0, lambda f: F.normalize(f, dim=-1, eps=100.0)),
    "divided": (2.0, 0.0, lambda f: f / f.norm(dim=-1, keepdim=True)),
}


@METHODS
@pytest.mark.parametrize("name", NORMALISE)
def test_normalised_features_equal_explicit_propagation(name: str, method: type) -> None:
    power, least, normalise = NORMALISE[name]
    model, x = Normalised(normalise), pixels()
    rules = Rules(constant_attention=method is CPLRP, **GAMMAS)
    runs = [
        read_out(model.tower, model.head, "clip", "cls", image, 1, rules, power=power, least=least)
        for image in x
    ]
    model.double()
    torch.testing.assert_close(torch.stack([run.logits for run, _ in runs]), model(x.double()))
    got = method(model, **GAMMAS).attribute_patches(x.double(), 1).flatten(1)
    expected = torch.stack([run.to_pixels(r) for run, r in runs])
    torch.testing.assert_close(got, expected.detach(), rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


@METHODS
def test_zero_shot_and_detector_equal_explicit_propagation(method: type) -> None:
    x, rules = pixels(), Rules(constant_attention=method is CPLRP, **GAMMAS)
    tower = build("clip").model
    torch.manual_seed(1)
    projection = nn.Linear(WIDTH, 24, bias=False)
    texts = F.normalize(torch.randn(3, 24), dim=-1)
    zero_shot = ZeroShot(tower, projection, TextSimilarity(texts, torch.tensor(20.0), torch.tensor(0.0)))
    head = nn.Linear(24, 3, bias=False)
    head.weight.data = texts * 20
    detector = Detector(tower, nn.Linear(WIDTH, 3), "pooled", normalize=True)
    # the texts are multiplied by as a matrix, which takes the ε rule: γ is for linear layers
    cases = [
        (zero_shot, head, {"projection": projection}, {**GAMMAS, "gamma": 0.0}),
        (detector, detector.head, {}, GAMMAS),
    ]
    for model, last, options, gammas in cases:
        rules = Rules(constant_attention=method is CPLRP, **gammas)
        runs = [read_out(tower, last, "clip", "cls", image, 1, rules, power=2.0, **options) for image in x]
        expected = torch.stack([run.to_pixels(r) for run, r in runs])
        model.double()
        torch.testing.assert_close(torch.stack([run.logits for run, _ in runs]), model(x.double()))
        got = method(model, **gammas).attribute_patches(x.double(), 1).flatten(1)
        torch.testing.assert_close(got, expected.detach(), rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
        model.float()


@pytest.mark.parametrize("method", [AttnLRP, CPLRP, TransLRP])
def test_siglip_zero_shot(method: type) -> None:
    model, x = tiny.siglip_model(), tiny.pixels(2)
    texts = F.normalize(torch.randn(3, tiny.WIDTH, generator=torch.Generator().manual_seed(0)), dim=-1)
    classifier = ZeroShot(
        model.vision_model, nn.Identity(), TextSimilarity(texts, torch.tensor(9.0), torch.tensor(-1.0))
    )
    got = method(classifier).attribute_patches(x, 1)
    assert torch.isfinite(got).all()
    assert got.abs().flatten(1).amax(1).min() > 0
