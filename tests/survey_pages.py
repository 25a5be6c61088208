"""A survey with everything that its page tells, without any model."""

import numpy as np
from tiny_detector import photo

from xai.data.face_parts import PARTS
from xai.report.encode import encode_picture
from xai.stats import Exclusion
from xai.stats.survey import (
    AnswerCount,
    FarImage,
    MapContrast,
    MeanMap,
    PairAgreement,
    PartDifference,
    PartShare,
    Survey,
    SurveyComparison,
    SurveySection,
)

NAME = "<b>survey</b> & more"


def survey(frames=("face", "crop")) -> Survey:
    """Two sections; maps over a face and maps alone, parts, odd images, exclusions."""
    return Survey(
        name=NAME,
        units=(3, 4),
        images=40,
        used=38,
        groups=12,
        labels=("fake", "real"),
        target="predicted",
        answers=(
            AnswerCount("fake", "swap", {"fake": 15, "real": 4}),
            AnswerCount("real", "pristine", {"fake": 1, "real": 18}),
        ),
        sections=tuple(_section(frame) for frame in frames),
        agreement=(PairAgreement("gwa", "rollout", None, 38, 0.2, 0.1, 0.3),),
        exclusions=(Exclusion("broken", "*", "*", "not an image"),),
        alpha=0.05,
        provenance={"model": {"name": "tiny", "fingerprint": "0123456789abcdef"}, "versions": {"torch": "2"}},
    )


def comparison() -> SurveyComparison:
    """Two runs whose maps differ in some places."""
    random = np.random.default_rng(1)
    contrasts = tuple(
        MapContrast(
            "run", "one", "two", (30, 30), random.normal(size=(4, 4)), random.random((4, 4)) ** 4, 12, label
        )
        for label in (None, "fake")
    )
    return SurveyComparison(
        runs=("<i>one</i>", "two"),
        methods=("gwa", "gwa"),
        targets=("predicted", "fake"),
        frame="crop",
        images=30,
        groups=12,
        only=(1, 2),
        same_answers=0.8,
        answers=(("fake", "fake", 24), ("fake", "real", 6)),
        agreement=(PairAgreement("one", "two", None, 30, 0.4, 0.3, 0.5),),
        contrasts=contrasts,
        alpha=0.05,
        parts=(PartDifference("eyes", None, "positive", 30, 0.3, 0.2, 0.1, 0.02, 0.18, 0.05),),
    )


def _section(frame: str) -> SurveySection:
    random = np.random.default_rng(0)
    size = 16 if frame == "face" else 4

    def values():
        return random.normal(0.5, 1, (size, size))

    asked = [(None, None), ("fake", None), ("real", None), (None, "fake"), (None, "real"), ("fake", "fake")]
    maps = [
        MeanMap(label, said, None, 19, 12, values(), abs(values()), values(), 0.05) for label, said in asked
    ]
    maps.append(MeanMap(None, None, "swap", 19, 12, values(), abs(values()), values(), 0.05))
    face = frame == "face"
    return SurveySection(
        method="gwa",
        frame=frame,
        images=38,
        blank=1,
        maps=tuple(maps),
        contrasts=(
            MapContrast("label", "fake", "real", (19, 19), values(), random.random((size, size)) ** 4, 12),
            MapContrast("predicted", "fake", "real", (16, 22), values(), None, 12),
        ),
        parts=tuple(
            PartShare(part, label, sign, 19, (i + 1) / 45, i / 45, (i + 2) / 45, 1 / len(PARTS))
            for i, part in enumerate(PARTS)
            for label in (None, "fake", "real")
            for sign in ("positive", "negative")
        )
        if face
        else (),
        farthest=tuple(
            FarImage(
                f"frame_{i}", "video", "fake", "real", "swap", i, 0.7, 9, values(),
                encode_picture(photo(i), 32) if i else None,
            )
            for i in range(2)
        ),
        backdrop=encode_picture(photo(9), 32) if face else None,
    )  # fmt: skip
