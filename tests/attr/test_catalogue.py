"""The list of methods, as `make docs` publishes it, is complete."""

from xai.attr import METHODS, PatchAttribution
from xai.attr.catalogue import to_markdown
from xai.attr.recorded_attention import RecordedAttribution


def test_every_option_of_every_method_is_described() -> None:
    for line in to_markdown().splitlines():
        if line.startswith("| `"):
            assert not line.endswith("|  |"), line


def test_every_method_is_there() -> None:
    text = to_markdown()
    assert [name for name in METHODS if f"\n### {name}\n" not in text] == []


def test_what_a_method_says_it_offers_it_has_written() -> None:
    """The hooks behind completeness and maps of layers raise where a method leaves them as they are."""
    methods = [METHODS[name] for name in METHODS]
    complete = [one for one in methods if one.info.complete]
    layered = [one for one in methods if one.info.layers]
    assert complete and layered
    for one in complete:
        assert one._start_logits is not PatchAttribution._start_logits, one
    for one in layered:
        assert one._layer_maps is not PatchAttribution._layer_maps, one
        if one._layer_maps is RecordedAttribution._layer_maps:
            assert one._heads is not RecordedAttribution._heads, one
