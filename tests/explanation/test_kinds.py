"""One tiny model of each kind, from its folder to a default explanation and curves.

Of every architecture: `make test-interop`, and docs/models.md.
"""

import pytest

from benchmarks.matrix import EXACT, examined, explained

ATTENTION = ("attention", "global_attention", "read_out_token")


@pytest.mark.parametrize(
    ("name", "default", "regions", "lacks"),
    [
        ("vit", "faithful", "8×8+1", ()),
        ("siglip", "one_pass", "8×8", ("read_out_token",)),
        ("swin", "integrated_gradients", "14×14", ("global_attention", "read_out_token")),
        ("pvt", "integrated_gradients", "14×14", ("global_attention", "read_out_token")),
        ("resnet", "integrated_gradients", "14×14", ATTENTION),
        ("mobilevit", "integrated_gradients", "14×14", ATTENTION),
        ("imagegpt", "occlusion", "4×4", (*ATTENTION, "gradients", "feature_map")),
    ],
)
def test_a_model_of_each_kind(name, default, regions, lacks) -> None:
    row = examined({"name": f"huggingface/{name}"})
    assert row["errors"] == {}
    assert explained(row)
    assert (row["default"], row["regions"]) == (default, regions)
    assert {need for need, why in row["needs"].items() if why is not None} == set(lacks)
    if "attention" not in lacks:
        assert row["attention"]["compared"] and row["attention"]["error"] <= EXACT
