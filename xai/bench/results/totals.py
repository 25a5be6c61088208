"""What records say beside scores: the cost of maps, and the answers of the model."""

import re
from collections.abc import Sequence

import numpy as np

from xai.bench.config.method_configurations import GREEDY, RANDOM
from xai.bench.results.record_parts import Names, Places, RecordPart, first_records
from xai.bench.run.description import ProtocolDescription
from xai.stats import MethodCost, ModelOutputs

COSTS = ("image", "method", "seconds", "forwards", "backwards", "peak_bytes")
ANSWERS = ("image", "metric", "protocol_hash", "clean", "baseline")
_DRAW = re.compile(rf"{RANDOM}_\d+")
_THRESHOLDS = {"margin": 0.0, "probability": 0.5, "accuracy": 0.5}


class Costs:
    """Cost by method; a map counts once, however many metrics looked at it."""

    def __init__(self) -> None:
        self._maps: dict[int, Places] = {}
        self._names = Names()
        self._seconds: dict[int, list[np.ndarray]] = {}
        self._most: dict[int, np.ndarray] = {}

    def add(self, part: RecordPart) -> None:
        """Take records with at least `COSTS`."""
        images, methods = part.codes("image"), part.codes("method")
        self._names = part.names["method"]
        maps = first_records(images.astype(np.int64) * len(self._names) + methods)
        images, methods = images[maps], methods[maps]
        cost = np.stack([part.cells(name)[maps] for name in ("forwards", "backwards", "peak_bytes")])
        seconds = part.cells("seconds")[maps]
        for method in methods[first_records(methods)]:
            mine = np.flatnonzero(methods == method)
            new = mine[self._maps.setdefault(method, Places()).add(images[mine])]
            self._seconds.setdefault(method, []).append(seconds[new])
            if len(new):
                most = cost[:, new].max(1)
                before = self._most.get(method)
                self._most[method] = most if before is None else np.maximum(before, most)

    def finished(self) -> dict[str, MethodCost]:
        """By method; random seeds are one."""
        names, found = list(self._names), {}
        for method in self._most:
            name = names[method]
            found.setdefault(RANDOM if _DRAW.fullmatch(name) else name, []).append(method)
        costs = {}
        for name, methods in found.items():
            seconds = np.concatenate([one for method in methods for one in self._seconds[method]])
            seconds = seconds[~np.isnan(seconds)]
            most = np.max([self._most[method] for method in methods], axis=0)
            costs[name] = MethodCost(
                float(np.median(seconds)) if len(seconds) else float("nan"), *map(int, most)
            )
        return {name: cost for name, cost in costs.items() if name != GREEDY}


class Answers:
    """How the model answers by protocol, image by image.

    Args:
        protocols: Of the run.
    """

    def __init__(self, protocols: Sequence[ProtocolDescription]):
        self._protocols = protocols
        # protocol hash, whether by insertion → images, and their answers
        self._found: dict[tuple[str, bool], tuple[Places, list[np.ndarray]]] = {}

    def add(self, part: RecordPart) -> None:
        """Take records with at least `ANSWERS`."""
        values = np.stack([part.cells("clean"), part.cells("baseline")])
        inserted = _is(part, "metric", "insertion")
        for one in self._protocols:
            mine = _is(part, "protocol_hash", one.hash) & ~np.isnan(values[0])
            for insertion in (False, True):
                chosen = np.flatnonzero(mine & (inserted == insertion))
                images, answers = self._found.setdefault((one.hash, insertion), (Places(), []))
                answers.append(values[:, chosen[images.add(part.codes("image")[chosen])]])

    def finished(self) -> dict[str, ModelOutputs]:
        """By protocol; insertion may start from another baseline than the protocol's own."""
        found = {}
        for one in self._protocols:
            limit = _THRESHOLDS.get(one.value)
            for insertion in (False, True):
                _, answers = self._found.get((one.hash, insertion), (None, []))
                clean, baseline = np.concatenate([np.empty((2, 0)), *answers], axis=1)
                if len(clean):
                    above = None if limit is None else int((baseline > limit).sum())
                    found[one.name] = ModelOutputs(
                        len(clean), finite_mean(clean), finite_mean(baseline), above
                    )
                    break
        return found


def finite_mean(values: np.ndarray) -> float:
    """Of the finite ones; NaN without any."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def _is(part: RecordPart, column: str, text: str) -> np.ndarray:
    codes = part.codes(column)
    return codes == {name: number for number, name in enumerate(part.names[column])}.get(text, -2)
