"""The removal check: against a plain loop, against planted evidence, against chance."""

import numpy as np
import pytest
import torch
from linear_model import two_classes, white
from tiny_detector import classifier, photo

from xai.attention import mask_patches
from xai.core import derive_seed
from xai.explanation.removal import DRAWS, check_removal, removal_operator
from xai.models import Classifier
from xai.perturb import Stream, image_seeds, make_operator, rank_units

LABELS = ("real", "fake")
ZERO = make_operator("constant", value=0.0, space="normalised")


def margin(logits, target):
    others = torch.cat([logits[:target], logits[target + 1 :]])
    return float(logits[target] - others.logsumexp(0))


def maps_of(images, seed=0):
    return np.random.default_rng(seed).normal(size=(images, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("name", ["token", "mean"])
@pytest.mark.parametrize("labels", [LABELS, ("a", "b", "c")])
def test_equals_a_plain_loop(name, labels):
    model, count = classifier(labels), 3
    pixels = torch.stack([model.preprocess(photo(seed)) for seed in range(count)])
    maps, targets = {"one": maps_of(count), "two": maps_of(count, 1)}, [1, 0, 1]
    found = check_removal(Stream(model, seed=7), make_operator(name), pixels, targets, maps, labels)

    def answer(image, removed):
        with torch.no_grad():
            if name == "token":
                presence = torch.ones(1, 16, dtype=torch.bool)
                presence[0, removed] = False
                with mask_patches(model, presence, model.grid):
                    logits = model(pixels[image : image + 1])
            else:
                changed = pixels[image : image + 1].clone()
                mean = changed.mean(dim=(0, 2, 3))
                for patch in removed:
                    row, col = 8 * (patch // 4), 8 * (patch % 4)
                    changed[0, :, row : row + 8, col : col + 8] = mean[:, None, None]
                logits = model(changed)
        return margin(logits[0], targets[image])

    seeds = image_seeds(pixels, 7)
    for image, removals in enumerate(found):
        assert [one.row for one in removals] == ["one", "two"]
        for one in removals:
            assert (one.removed, one.patches, one.operator, one.value) == (3, 16, name, "margin")
            assert one.target == labels[targets[image]]
            top = np.argsort(-maps[one.row][image].ravel())[:3]
            nothing = torch.zeros(1, 16)
            seeds_of_draws = [derive_seed(seeds[image], "removal", draw) for draw in range(DRAWS)]
            draws = [rank_units(nothing, [seed])[0].argsort()[:3].numpy() for seed in seeds_of_draws]
            expected = [answer(image, removed) for removed in ([], top, *draws)]
            assert [one.clean, one.top, *one.random] == pytest.approx(expected, abs=1e-5)


def test_planted_evidence_beats_chance_and_its_reverse_does_not():
    """Margin = Σ weights · brightness: removing patches takes their weights away."""
    weights = torch.arange(25.0).reshape(5, 5)
    truth = weights.numpy()[None]
    maps = {"truth": truth, "reverse": -truth}
    ((right, wrong),) = check_removal(Stream(two_classes(weights)), ZERO, white(5, 5), [1], maps, LABELS)
    assert (right.clean, right.removed) == (300, 5)
    assert right.top == 300 - (20 + 21 + 22 + 23 + 24)
    assert wrong.top == 300 - (0 + 1 + 2 + 3 + 4)
    assert right.top < min(right.random) and wrong.top > max(wrong.random)
    assert right.random == wrong.random, "every method shares the draws"
    assert len(set(right.random)) > DRAWS / 2


def test_a_constant_map_is_one_more_random_draw():
    images = white(5, 5, 60) * torch.linspace(0.5, 1.5, 60)[:, None, None, None]
    weights = torch.arange(25.0).reshape(5, 5)
    maps = {"flat": np.ones((60, 5, 5)), "zero": np.zeros((60, 5, 5))}
    found = check_removal(Stream(two_classes(weights)), ZERO, images, [1] * 60, maps, LABELS)
    # as shares of the clean margin, so that images can be counted together
    tops = np.array([flat.top / flat.clean for flat, _ in found])
    chance = np.array([flat.random for flat, _ in found]) / np.array([[flat.clean] for flat, _ in found])
    assert all(flat.top == zero.top for flat, zero in found)
    assert tops.mean() == pytest.approx(chance.mean(), abs=3 * tops.std() / 60**0.5)
    assert tops.std() == pytest.approx(chance.std(), rel=0.4)
    assert len(set(tops.round(6))) > 10


def test_an_image_gets_the_same_alone_as_in_a_batch_and_another_seed_other_draws():
    model = classifier()
    pixels = torch.stack([model.preprocess(photo(seed)) for seed in range(3)])
    maps, token = maps_of(3), make_operator("token")

    def check(chosen, seed=0):
        return check_removal(
            Stream(model, seed=seed), token, pixels[chosen], [1] * len(chosen), {"x": maps[chosen]}, LABELS
        )

    together, ((alone,),) = check([0, 1, 2]), check([2])
    assert alone.top == pytest.approx(together[2][0].top, abs=1e-6)
    assert alone.random == pytest.approx(together[2][0].random, abs=1e-6)
    ((other,),) = check([2], seed=1)
    assert other.random != pytest.approx(alone.random, abs=1e-6)


def test_one_patch_at_least_and_nothing_computed_twice():
    stream = Stream(two_classes(torch.ones(2, 2)))
    ((one, other),) = check_removal(
        stream, ZERO, white(2, 2), [1], {"a": np.eye(2)[None], "b": 2 * np.eye(2)[None]}, LABELS
    )
    assert one.removed == 1 and one.top == other.top
    assert stream.states == 13
    assert stream.forwards <= 1 + 4


def test_an_answer_that_is_not_finite_is_left_out():
    images = white(2, 2, 2)
    images[1] *= 1e30
    model = two_classes(torch.full((2, 2), 1e20))
    maps = {"x": np.stack([np.eye(2)] * 2)}
    first, second = check_removal(Stream(model), ZERO, images, [1, 1], maps, LABELS)
    assert len(first) == 1 and second == []


def test_patches_are_hidden_where_they_can_be_and_painted_over_where_not():
    model = classifier()
    assert removal_operator(model, model.preprocess(photo())[None]).name == "token"
    without_attention = Classifier(two_classes(torch.ones(4, 4)), LABELS, name="linear", grid=(4, 4))
    assert removal_operator(without_attention, white(4, 4)).name == "mean"
