"""One measured number, with everything needed to know what it is a number of."""

from dataclasses import dataclass, fields
from math import nan
from typing import Any


@dataclass(frozen=True)
class Record:
    """One row of a benchmark: one image, one method, one metric, one protocol.

    Args:
        image: Sample id.
        group: What the image is a frame or crop of (video, identity, photograph); its own id if nothing.
        label: True class name, if known.
        kind: How the image was manipulated (`splice`, `Deepfakes` …) or `pristine`, if known.
        target: Class name that was explained.
        method: Row name of the method in this run.
        control: Whether the method is a control, which a method must beat.
        metric: Registry name.
        protocol: Name of the protocol; `maps` for metrics that look at the map alone.
        value: The score; NaN where it is undefined.
        curve: Values along the curve, if the metric has one.
        fractions: Share of units removed at each value of the curve.
        saturated: The curve moves less than the protocol's floor and ranks nothing.
        tie_fraction: Share of units whose relevance is not unique in the map.
        clean: Model's value of the image as it is.
        baseline: Model's value with everything removed.
        seconds: Time of the attribution, per image.
        forwards: Forward passes of the attribution, per image, as its method declares.
        backwards: Backward passes, likewise.
        peak_bytes: Peak accelerator memory while the method ran; 0 where it cannot be measured.
        seed: Of the run.
        model_hash: Fingerprint of the classifier.
        method_hash: Digest of the method's name and options.
        protocol_hash: Digest of the protocol.
        image_hash: Digest of the preprocessed pixels.
    """

    image: str
    group: str
    label: str | None
    kind: str | None
    target: str
    method: str
    control: bool
    metric: str
    protocol: str
    value: float
    curve: tuple[float, ...] = ()
    fractions: tuple[float, ...] = ()
    saturated: bool = False
    tie_fraction: float = nan
    clean: float = nan
    baseline: float = nan
    seconds: float = nan
    forwards: int = 0
    backwards: int = 0
    peak_bytes: int = 0
    seed: int = 0
    model_hash: str = ""
    method_hash: str = ""
    protocol_hash: str = ""
    image_hash: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes the row unique within any number of runs."""
        return (
            self.image_hash,
            self.model_hash,
            self.method_hash,
            self.method,
            self.metric,
            self.protocol_hash,
            self.target,
        )

    def as_dict(self) -> dict[str, Any]:
        """Columns by name, in order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
