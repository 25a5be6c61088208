"""Saliency cards of the registered methods."""

from xai.attr import METHODS
from xai.report.about import card_of


def card(name):
    return card_of(METHODS[name].info)


def test_every_method_has_a_card_that_says_what_it_says():
    for name, method in METHODS.items():
        made = card(name)
        assert (made.method, made.forwards, made.signed) == (name, method.info.forwards, method.info.signed)
        assert made.needs and made.summary and made.reference


def test_needs_and_chance():
    assert card("gradient_weighted_attention").needs == ["attention", "gradients"]
    assert card("attention_rollout").needs == ["attention"]
    assert card("rise").needs == ["outputs of the model alone", "many passes per image"]
    assert card("integrated_gradients").needs == ["gradients", "many passes per image"]
    assert card("center_prior").needs == ["nothing of the model"]
    chance = {name for name in METHODS if not card(name).deterministic}
    assert {"random", "rise", "smoothgrad"} <= chance and not {"chefer", "integrated_gradients"} & chance
