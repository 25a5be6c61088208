"""From scores to records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan

from torch import Tensor

from xai.attr import METHODS
from xai.bench.config.method_configurations import MethodConfiguration
from xai.bench.run.inputs import InputImage
from xai.bench.run.maps import MapCost
from xai.core import Record
from xai.metrics.base import Scores
from xai.models import Classifier


@dataclass(frozen=True, eq=False)
class RecordTemplate:
    """What the records of one group of images share.

    Args:
        classifier: What was explained.
        protocol: Name.
        protocol_hash: Digest.
        images: Of one shape.
        targets: Class index of each.
        cost: Of the attributions, by name of the method configuration.
        seed: Of the run.
    """

    classifier: Classifier
    protocol: str
    protocol_hash: str
    images: Sequence[InputImage]
    targets: Sequence[int]
    cost: Mapping[str, MapCost]
    seed: int

    @cached_property
    def model_hash(self) -> str:
        """The classifier's fingerprint, which looks at all weights whenever it is asked for."""
        return self.classifier.fingerprint

    def subset(self, places: Sequence[int]) -> "RecordTemplate":
        """The same for some of the images."""
        images, targets = [self.images[i] for i in places], [self.targets[i] for i in places]
        return replace(self, images=images, targets=targets)

    def perturbed(
        self, metric: str, configurations: Sequence[MethodConfiguration], scores: Scores, usable: Tensor
    ) -> list[Record]:
        """Records of a perturbation metric, for the maps (methods, B) that are usable."""
        fractions = () if scores.fractions is None else tuple(scores.fractions.tolist())
        return [
            self._record(
                configuration,
                place,
                metric,
                float(scores.value[m, place]),
                curve=() if scores.curve is None else tuple(scores.curve[m, place].tolist()),
                fractions=fractions,
                saturated=bool(scores.saturated[m, place]),
                tie_fraction=float(scores.tie_fraction[m, place]),
                clean=float(scores.clean[place]),
                baseline=float(scores.baseline[place]),
            )
            for m, configuration in enumerate(configurations)
            for place in range(len(self.images))
            if usable[m, place]
        ]

    def plain(
        self,
        metric: str,
        configuration: MethodConfiguration,
        places: Sequence[int],
        values: Sequence[float],
        *,
        ties: Sequence[float] = (),
        curves: Sequence[Sequence[float]] = (),
    ) -> list[Record]:
        """Records of a metric that perturbs nothing, for some of the images."""
        found = []
        for number, (place, value) in enumerate(zip(places, values, strict=True)):
            curve = tuple(curves[number]) if curves else ()
            found.append(
                self._record(
                    configuration,
                    place,
                    metric,
                    float(value),
                    tie_fraction=ties[number] if ties else nan,
                    curve=curve,
                    fractions=tuple((i + 1) / len(curve) for i in range(len(curve))),
                )
            )
        return found

    def _record(
        self, configuration: MethodConfiguration, place: int, metric: str, value: float, **more: object
    ) -> Record:
        image, target = self.images[place], self.targets[place]
        cost = self.cost.get(configuration.name, MapCost(nan, 0))
        info = METHODS[configuration.method].info if configuration.method in METHODS else None
        fields: dict[str, object] = {
            "image": image.id,
            "group": image.group,
            "label": image.label,
            "kind": image.kind,
            "target": self.classifier.labels[target],
            "method": configuration.name,
            "control": configuration.control,
            "metric": metric,
            "protocol": self.protocol,
            "value": value,
            "seconds": cost.seconds,
            "forwards": info.forwards if info else 0,
            "backwards": info.backwards if info else 0,
            "peak_bytes": cost.peak_bytes,
            "seed": self.seed,
            "model_hash": self.model_hash,
            "method_hash": configuration.hash,
            "protocol_hash": self.protocol_hash,
            "image_hash": image.hash,
        }
        return Record(**fields, **more)  # type: ignore[arg-type] # named as the fields are
