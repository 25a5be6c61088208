import pytest

from xai.core.catalogue import catalogue
from xai.core.language import LANGUAGES, language
from xai.core.names import (
    METHODS,
    METRICS,
    method_in_words,
    metric_in_words,
    removal_in_words,
    row_in_words,
)


def test_no_words_for_what_is_gone():
    assert set(METHODS) <= set(catalogue().methods)
    assert set(METRICS) <= set(catalogue().metrics)


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_two_are_read_alike(code):
    with language(code):
        methods = [method_in_words(name) for name in catalogue().methods]
        metrics = [metric_in_words(name) for name in catalogue().metrics]
    assert len(set(methods)) == len(methods) and len(set(metrics)) == len(metrics)
    assert not any("_" in words for words in (*methods, *metrics))


def test_rows_are_read_as_their_method_and_what_their_name_adds():
    assert row_in_words("attn_lrp", "attn_lrp") == "AttnLRP"
    assert row_in_words("chefer_last_two", "chefer") == "Chefer's rollout (last two)"
    assert row_in_words("localisation", "gradient_weighted_attention") == (
        "gradient-weighted attention (localisation)"
    )
    assert row_in_words("raw_last_layer", "raw_attention") == "raw attention, last layer"
    assert row_in_words("random", "") == "random maps"
    assert row_in_words("my_own_map", "my_own_map") == "my own map"
    assert row_in_words("chefer_", "chefer") == "Chefer's rollout (chefer_)"


def test_removals_are_read_of_unit_and_operator():
    assert removal_in_words("patch", "token") == "patches dropped"
    assert removal_in_words("segment", "my_smear") == "segments my smear"
    with language("zh"):
        assert removal_in_words("pixel", "blur") != "pixels blurred"
