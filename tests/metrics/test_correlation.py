import numpy as np
import pytest
import torch
import vit_zoo
from linear_model import two_classes, white

from xai import metrics
from xai.core import PatchGrid, UsageError
from xai.metrics import Context, evaluate, protocol
from xai.metrics.correlation import SHARES, SUBSETS, pooled_correlation, random_ranks, subset_sizes
from xai.perturb import Stream, image_seeds, make_operator

ZERO = protocol("vit").replace(operator=make_operator("constant"))
NAME = "faithfulness_correlation"


def weights_of(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_true_weights_earn_one_and_their_reverse_minus_one():
    weights = weights_of(4, 4)
    maps = torch.stack([weights, -weights, 3 * weights + 5])[:, None]
    found = evaluate(two_classes(weights), [NAME], white(), maps, 1, ZERO)[NAME]
    assert found.value[:, 0].tolist() == pytest.approx([1, -1, 1])
    assert not found.saturated.any()


def test_size_alone_earns_nothing():
    """All weights near one: a random positive map adds up to more in larger sets, and is worth nothing."""
    weights = 1 + 0.01 * weights_of(6, 6)
    maps = torch.rand(100, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    found = evaluate(two_classes(weights), [NAME], white(6, 6), maps, 1, ZERO)[NAME].value
    assert abs(found.mean()) < 3 * found.std() / 10


def test_by_numpy():
    model, pixels = vit_zoo.build("vit"), vit_zoo.pixels(2)
    relevance = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(2))
    found = metrics.faithfulness_correlation(model, pixels, relevance, 2, seed=7)
    context = Context(
        protocol("vit"), pixels, torch.tensor([2, 2]), image_seeds(pixels, 7), PatchGrid(4, 4, 1)
    )
    ranks, sizes = random_ranks(context), subset_sizes(16)
    for i in range(2):
        sums, drops = [], []
        with torch.no_grad():
            clean = model(pixels[i : i + 1]).double()[0]
            for order, size in zip(ranks[i], sizes, strict=True):
                gone = order < size
                mean = pixels[i].mean((1, 2))[:, None, None]
                mask = gone.repeat_interleave(8, 0).repeat_interleave(8, 1)
                after = model(torch.where(mask, mean, pixels[i])[None]).double()[0]
                sums.append(relevance[i][gone].double().sum().item())
                drops.append((margin(clean) - margin(after)).item())
        groups = np.array(sums).reshape(len(SHARES), -1), np.array(drops).reshape(len(SHARES), -1)
        centred = [group - group.mean(1, keepdims=True) for group in groups]
        expected = np.corrcoef(centred[0].ravel(), centred[1].ravel())[0, 1]
        assert found[i].item() == pytest.approx(expected, abs=1e-5)


def margin(logits):
    return logits[2] - torch.logsumexp(logits[:2], 0)


def test_sets_are_of_stated_sizes_and_random_per_image():
    sizes = subset_sizes(196)
    assert len(sizes) == SUBSETS
    assert sizes.unique().tolist() == [20, 39, 59, 78, 98]
    pixels = white(images=2) * torch.tensor([1.0, 2.0])[:, None, None, None]
    context = Context(ZERO, pixels, torch.tensor([1, 1]), image_seeds(pixels, 0), PatchGrid(4, 4))
    ranks = random_ranks(context)
    assert (ranks.flatten(2).sort(-1).values == torch.arange(16)).all()
    assert (ranks[0] != ranks[1]).any()
    first = (ranks.flatten(2) < 4).double().mean((0, 1))  # how often each patch is among four of sixteen
    assert first.mean().item() == 0.25
    assert (first - 0.25).abs().max() < 0.12


def test_methods_share_their_sets():
    model = two_classes(weights_of(4, 4))
    stream = Stream(model)
    evaluate(stream, [NAME], white(), torch.rand(9, 1, 4, 4), 1, ZERO)
    assert stream.forwards <= SUBSETS + 2


def test_what_does_not_vary_earns_nothing():
    maps = torch.stack([torch.full((1, 4, 4), 0.1), weights_of(1, 4, 4)])
    found = evaluate(two_classes(weights_of(4, 4)), [NAME], white(), maps, 1, ZERO)[NAME]
    assert found.value[0, 0].item() == 0
    assert found.saturated[:, 0].tolist() == [True, False]
    deaf = evaluate(two_classes(torch.zeros(4, 4)), [NAME], white(), maps, 1, ZERO)[NAME]
    assert deaf.value.tolist() == [[0], [0]]
    assert deaf.saturated.all()


def test_pooled_correlation_is_pearson_when_sizes_do_not_matter():
    x, y = (torch.from_numpy(np.random.default_rng(s).normal(size=SUBSETS)) for s in (0, 1))
    groups = x.reshape(5, -1), y.reshape(5, -1)
    x, y = ((g - g.mean(1, keepdim=True)).flatten() for g in groups)
    expected = np.corrcoef(x, y)[0, 1]
    assert pooled_correlation(x, y).item() == pytest.approx(expected)


def test_too_few_patches():
    with pytest.raises(UsageError, match="at least 4 patches; there are 2"):
        subset_sizes(2)
