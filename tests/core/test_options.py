"""Options are of the types that their function declares."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from xai.core import UsageError
from xai.core.options import checked


class Thing:
    """Keeps what it was given."""

    def __init__(
        self,
        own: object,
        count: int = 1,
        share: float = 0.5,
        word: str | None = None,
        layers: str | int | Sequence[int] = "all",
        flag: bool = False,
        operator: str | Mapping[str, object] = "mean",
    ):
        self.given = (own, count, share, word, layers, flag, operator)


Thing.__init__ = checked(Thing.__init__, "Thing")


def test_what_fits_is_passed_on():
    own = object()
    assert Thing(own, 3, 2, word="x", layers=[1, -1], operator={"name": "a"}).given == (
        own, 3, 2, "x", [1, -1], False, {"name": "a"},
    )  # fmt: skip
    given = Thing(own, np.int32(3), np.float32(0.25), layers=[np.int64(2)]).given
    assert [type(one) for one in given[1:3]] == [int, float]
    assert given[4] == [2] and type(given[4][0]) is int


@pytest.mark.parametrize(
    "options",
    [
        {"count": True}, {"count": 1.0}, {"count": "1"}, {"count": None}, {"count": 2**63}, {"count": [1]},
        {"share": float("nan")}, {"share": float("-inf")}, {"share": "0.5"}, {"share": True},
        {"word": ["x"]}, {"word": 3}, {"word": {}},
        {"layers": [[1]]}, {"layers": ["a"]}, {"layers": {"a": 1}}, {"layers": 1.5}, {"layers": [None]},
        {"layers": True}, {"layers": b"x"},
        {"flag": 1}, {"flag": "no"}, {"operator": ["mean"]}, {"operator": {1: 2}},
    ],
)  # fmt: skip
def test_what_does_not_is_refused(options):
    (name,) = options
    with pytest.raises(UsageError, match=f"Thing: {name}=") as caught:
        Thing(None, **options)
    assert caught.value.hint.startswith("It takes ")
