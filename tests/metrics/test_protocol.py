import pytest

from xai.core import ProblemType, UsageError
from xai.metrics import PROTOCOLS, Protocol, protocol
from xai.perturb import Cells, make_operator

# a change here makes all numbers measured so far incomparable: be sure that it is meant
HASHES = {
    "vit-token": "a62ff934ea15",
    "vit-mean": "a0a566e0fcaf",
    "vit-blur": "d6f7bcd43eca",
    "rise": "c1c384a97205",
    "rise-224": "1529ef947ae0",
    "chefer": "e967f2658b57",
    "road": "5796cdcb402f",
    "tis": "7dbda8deaf77",
    "m4": "6c284362e622",
    "quantus-pixel-flipping": "0617335ee0e5",
    "tsigos": "f76df0342b58",
    "tsigos-cells": "135f28a48eee",
}


def make(**changes):
    return Protocol(
        **{"name": "x", "unit": "patch", "operator": make_operator("mean"), "steps": 4, **changes}
    )


def test_hashes_are_frozen():
    assert {p.name: p.hash for p in PROTOCOLS.values()} == HASHES


def test_every_preset_is_one_operator_with_a_source():
    for preset in PROTOCOLS.values():
        assert preset.reference
        assert preset.operator.name in preset.describe()["operator"]["name"]
    assert protocol("vit") is protocol("vit-mean")


def test_hash_ignores_name_and_reference_alone():
    base = make()
    assert make(name="y", reference="z").hash == base.hash
    changes = [
        {"unit": "pixel"},
        {"operator": make_operator("constant")},
        {"insertion_operator": make_operator("noise")},
        {"steps": 5},
        {"steps": None, "step_units": 4},
        {"steps": None, "fractions": (0.5, 1.0)},
        {"ends": False},
        {"ties": "stable"},
        {"tie_draws": 2},
        {"sign": "absolute"},
        {"upsampling": "bilinear"},
        {"value": "probability"},
        {"target": "label"},
        {"auc": "mean"},
        {"floor": 0.2},
    ]
    hashes = {make(**change).hash for change in changes}
    assert len(hashes | {base.hash}) == len(changes) + 1


def test_numbers_written_otherwise_are_the_same_protocol():
    whole = Protocol.from_mapping(
        {"base": "vit-blur", "operator": {"name": "blur", "kernel": 11, "sigma": 5}}
    )
    real = Protocol.from_mapping(
        {"base": "vit-blur", "operator": {"name": "blur", "kernel": 11, "sigma": 5.0}}
    )
    assert whole.hash == real.hash != protocol("vit-blur").hash


def test_from_mapping_says_its_changes_in_its_name():
    changed = Protocol.from_mapping({"base": "vit-mean", "steps": 7, "value": "probability"})
    assert (changed.steps, changed.value, changed.floor) == (7, "probability", 0.01)
    assert changed.name == "vit-mean:steps=7,value=probability"
    assert Protocol.from_mapping({"base": "vit-mean"}) is not None
    assert Protocol.from_mapping({"base": "vit-mean"}).hash == protocol("vit-mean").hash
    assert Protocol.from_mapping({"base": "rise", "name": "mine", "operator": "mean"}).name == "mine"
    own = Protocol.from_mapping({"unit": "patch", "operator": "mean", "fractions": [0.5]})
    assert own.fractions == (0.0, 0.5, 1.0)
    assert own.name == f"custom-{own.hash}"


def test_a_new_step_rule_replaces_the_old_one():
    assert protocol("rise").replace(steps=5).step_units is None
    assert protocol("chefer").replace(step_units=3).fractions is None
    assert protocol("vit").replace(ties="random", tie_draws=3).replace(ties="stable").tie_draws == 1


def test_a_stated_floor_survives_another_value():
    assert make(floor=0.3).replace(value="probability").floor == 0.3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": None}, "Give exactly one"),
        ({"step_units": 3}, "steps and step_units"),
        ({"steps": 0}, "steps=0"),
        ({"steps": True}, "steps=True"),
        ({"steps": None, "step_units": "8H"}, "8H"),
        ({"steps": None, "fractions": (0.5, 0.2)}, "increasing"),
        ({"steps": None, "fractions": (0.5, 1.2)}, "from 0 to 1"),
        ({"steps": None, "fractions": "all"}, "list of numbers"),
        ({"unit": "patches"}, "Did you mean 'patch'"),
        ({"ties": "rand"}, "Did you mean 'random'"),
        ({"value": "logits"}, "Did you mean 'logit'"),
        ({"auc": "trapz"}, "Did you mean 'trapezoid'"),
        ({"operator": "mean"}, "make_operator"),
        ({"operator": make_operator("token"), "unit": "pixel"}, 'unit="patch"'),
        ({"operator": make_operator("token"), "unit": "segment", "segments": Cells()}, "counts segments"),
        ({"unit": "segment"}, 'unit="segment" goes with segments'),
        ({"segments": Cells()}, 'unit="segment" goes with segments'),
        ({"images": "right"}, "images='right'"),
        ({"tie_draws": 0}, "tie_draws=0"),
        ({"ties": "stable", "tie_draws": 2}, "exactly one"),
        ({"floor": -1}, "floor=-1"),
    ],
)
def test_refuses_what_makes_no_protocol(change, said):
    with pytest.raises(UsageError, match=said):
        make(**change)


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("vit-men", "Did you mean 'vit-mean'"),
        ({"base": "vit-mean", "step": 3}, "Did you mean 'steps'"),
        ({"base": "vit-mean", "operator": "meen"}, "Did you mean 'mean'"),
        ({"base": "vit-mean", "operator": {"name": "blur", "sigm": 1}}, "sigm"),
        ({"base": "vit-mean", "operator": 3}, "is no operator"),
        ({"base": "tsigos", "segments": "slik"}, "Did you mean 'slic'"),
        ({"base": "tsigos", "segments": {"name": "cells", "row": 3}}, "Did you mean 'rows'"),
        ({"base": "tsigos", "segments": {"name": "cells", "rows": 0}}, "2 segments or more"),
        ({"base": "tsigos", "segments": {"rows": 3}}, "is no segmentation"),
        ({"steps": 3}, "needs unit and operator"),
        (3, "is no protocol"),
    ],
)
def test_refuses_unknown_names(said, hint):
    with pytest.raises(UsageError, match=hint):
        protocol(said)


def test_counts_of_the_published_protocols():
    size = (224, 224)
    assert protocol("rise").counts(size) == tuple(range(0, 50177, 1792))
    assert protocol("rise-224").counts(size) == tuple(range(0, 50177, 224))
    assert protocol("tis").counts(size) == tuple(range(224, 50177, 224))
    assert protocol("quantus-pixel-flipping").counts(size) == tuple(range(224, 50177, 224))
    assert protocol("chefer").counts(size) == tuple(int(50176 * f / 10) for f in range(10))
    assert protocol("road").counts(size) == tuple(int(50176 * f / 10) for f in (1, 2, 3, 4, 5, 7, 9))
    assert len(protocol("m4").counts(size)) == 21
    assert protocol("vit").counts((14, 14)) == tuple(range(0, 197, 14))
    assert protocol("rise").counts((36, 32)) == (0, 256, 512, 768, 1024, 1152)


@pytest.mark.parametrize("units", [(16, 16), (7, 7), (5, 7), (4, 4)])
def test_steps_are_nearest_and_mirrored(units):
    total = units[0] * units[1]
    counts = protocol("vit").counts(units)
    assert counts[0] == 0
    assert counts[-1] == total
    assert all(abs(count - i * total / 14) <= 0.5 for i, count in enumerate(counts))
    assert all(
        a + b == total for a, b in zip(counts, counts[::-1], strict=True) if 2 * a != total + 1 != 2 * b
    )


def test_more_steps_than_units():
    with pytest.raises(UsageError, match="14 steps for 9 units"):
        protocol("vit").counts((3, 3))
    with pytest.raises(UsageError, match="removes 256 units a step; there are 128"):
        protocol("rise").counts((4, 32))


def test_length_of_a_curve_is_known_without_an_image():
    for preset in PROTOCOLS.values():
        units = preset.units((14, 14), (224, 224))
        assert preset.points(196) == len(preset.counts(units)), preset.name


def test_right_answers_only_are_refused_where_labels_are_independent():
    with pytest.raises(UsageError, match="labels of a multi_label_classification model are independent"):
        protocol("tsigos").check_head(ProblemType.MULTI_LABEL)
    protocol("tsigos").replace(images="all").check_head(ProblemType.MULTI_LABEL)
