"""Explanations of pictures that got worse, beside those of the pictures as they are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from xai.core import Explanation, Margin, Sample
from xai.core.target import class_log_odds, score
from xai.data import read_image, shipped_photos
from xai.data.degradations import LADDER, Degradation, degraded
from xai.explanation.arguments import Targets
from xai.explanation.explainer import Explainer
from xai.explanation.inputs import Failure
from xai.stats.stability import (
    LEAST_OTHERS,
    Degraded,
    ImageStability,
    map_change,
    references,
)

FURTHER = 8  # shipped photographs, where a run has too few images to tell what unrelated maps give


@dataclass(frozen=True, eq=False)
class StabilityResult:
    """One image through the ladder, with the maps for a picture.

    Args:
        image: Numbers, without a reference.
        clean: The explanation of the image as it is.
        maps: Degradation → (rows, cols) map of the followed class.
    """

    image: ImageStability
    clean: Explanation
    maps: Mapping[str, np.ndarray]


class StabilityCheck:
    """Explains images again after each degradation; keeps of each image its clean maps, and no picture.

    It costs an explanation per image and degradation, in batches of the explainer's size.

    Args:
        explainer: Made the clean explanations.
        ladder: Degradations, mildest first.
    """

    def __init__(self, explainer: Explainer, ladder: Sequence[Degradation] = LADDER):
        self.explainer = explainer
        self.ladder = ladder
        self.further = 0
        self._clean: list[tuple[str, dict[str, np.ndarray]]] = []

    def __call__(self, explanation: Explanation) -> StabilityResult:
        """Explain one image after every degradation, for the class that the clean one is followed by.

        Raises:
            DataError: The preprocessing cannot take a degraded picture.
            ModelError: The model cannot answer for one.
        """
        target, sample = explanation.followed, explanation.sample
        degradations = iter(self.ladder)
        maps: dict[str, np.ndarray] = {}
        answers: list[tuple[float, float, str]] = []
        for after in self._explain((degraded(sample, one) for one in self.ladder), target):
            maps[next(degradations).name] = after.maps[target]
            answers.append((*self._answer(after, target), after.predicted))
        changes = map_change(explanation.maps[target], np.stack(list(maps.values())))
        probability, margin = self._answer(explanation, target)
        image = ImageStability(
            id=sample.id,
            group=sample.group or sample.id,
            target=target,
            predicted=explanation.predicted,
            probability=probability,
            margin=margin,
            changes=tuple(
                Degraded(name, *change, *answer)
                for name, change, answer in zip(maps, changes, answers, strict=True)
            ),
        )
        clean = {name: np.ravel(values).astype(np.float32) for name, values in explanation.maps.items()}
        self._clean.append((image.group, clean))
        return StabilityResult(image, explanation, maps)

    def with_references(self, images: Sequence[ImageStability], seed: int = 0) -> list[ImageStability]:
        """The images of all calls, in order, measured against what maps of other images agree by.

        Where fewer than five images of other groups are there, eight photographs of this package are
        explained as well; `further` counts them.

        Args:
            images: `StabilityResult.image` of every call.
            seed: Of the choice among many others.
        """
        done: dict[int, ImageStability] = {}
        clean = self._clean[: len(images)]
        sizes = [clean[place][1][one.target].size for place, one in enumerate(images)]
        for target, size in sorted({(one.target, size) for one, size in zip(images, sizes, strict=True)}):
            found = [(place, group, maps[target]) for place, (group, maps) in enumerate(clean)
                     if target in maps and maps[target].size == size]  # fmt: skip
            groups = [group for _, group, _ in found]
            few = len(groups) - max(map(groups.count, set(groups))) < LEAST_OTHERS
            extra = self._photographs(target, size) if few else np.empty((0, size))
            measured = references(np.stack([values for *_, values in found]), groups, extra, seed)
            for (place, _, _), reference in zip(found, measured, strict=True):
                if images[place].target == target:
                    done[place] = replace(images[place], reference=reference)
        return [done[place] for place in range(len(images))]

    def _photographs(self, target: str, size: int) -> np.ndarray:
        """(E, P) maps of shipped photographs."""
        photos = list(shipped_photos().values())[:FURTHER]
        samples = (Sample(path.stem, read_image(path), path) for path in photos)
        maps = [np.ravel(one.maps[target]) for one in self._explain(samples, target)]
        fitting = [values for values in maps if values.size == size]
        self.further = max(self.further, len(fitting))
        return np.stack(fitting) if fitting else np.empty((0, size))

    def _explain(self, samples: Iterable[Sample], target: str) -> Iterator[Explanation]:
        """Explain for one map alone, whatever a degraded picture is taken for."""
        pinned, targets = copy(self.explainer), self.explainer.targets
        pinned.targets = Targets(targets.labels, ((target, targets.target_of(target)),))
        for result in pinned.explain(samples):
            if isinstance(result, Failure):
                raise result.error
            yield result
        self.explainer.batch_size = pinned.batch_size  # halved where memory ran out

    def _answer(self, explanation: Explanation, name: str) -> tuple[float, float]:
        """Probability and margin of what a map is about; a contrast has no probability."""
        target, logits = self.explainer.targets.target_of(name), torch.from_numpy(explanation.logits)[None]
        if isinstance(target, Margin):
            return explanation.probabilities.get(name, float("nan")), float(score(logits, target)[0])
        margin = class_log_odds(logits, explanation.problem_type)[0, target]
        return explanation.probabilities[name], float(margin)
