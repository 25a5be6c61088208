"""What is asked of a stream: tables of perturbed states, of which every distinct one is computed once."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xai.core import UsageError, derive_seed, nearest
from xai.core.target import SCORES
from xai.perturb.operator import Operator

_ENTRIES = 2**22  # of the table of prefix sums that exists at once

CALL = {"cpu": 32, "cuda": 4096}
"""By device: what a pass costs beside its tokens, in tokens (ViT-B/16 and the shipped detector alike)."""


@dataclass(frozen=True, eq=False)
class States:
    """A table of perturbed states.

    In state s, of image `image[row[s]]`, the units with `low[s] <= rank < high[s]` in ranking `row[s]` are
    removed. Deletion: (0, k). Insertion: (k, units). A group of units: (a, b).

    Args:
        rankings: (R, rows, cols) int32, each a permutation; patches, or pixels if of the image's size.
        image: (R,) long, the image each ranking belongs to.
        row: (S,) long.
        low: (S,) int32.
        high: (S,) int32.
    """

    rankings: Tensor
    image: Tensor
    row: Tensor
    low: Tensor
    high: Tensor

    def __post_init__(self) -> None:
        rankings, states = self.rankings, self.row
        if rankings.dim() != 3 or rankings.is_floating_point() or self.image.shape != rankings.shape[:1]:
            raise UsageError(
                "Rankings must be integers of shape (rankings, rows, cols) with an image each; got "
                f"{rankings.dtype} {tuple(rankings.shape)} and {tuple(self.image.shape)}."
            )
        if states.dim() != 1 or not states.shape == self.low.shape == self.high.shape:
            raise UsageError(
                "A table of states needs row, low and high of one length; got "
                f"{tuple(states.shape)}, {tuple(self.low.shape)}, {tuple(self.high.shape)}."
            )
        if len(states) and not 0 <= int(states.min()) <= int(states.max()) < len(rankings):
            raise UsageError(f"A state names a ranking that is not among the {len(rankings)}.")

    def __len__(self) -> int:
        return len(self.row)

    @property
    def units(self) -> int:
        """Units of a ranking."""
        return self.rankings[0].numel() if len(self.rankings) else 0


@dataclass(frozen=True)
class Request:
    """One operator on one table of states.

    Args:
        operator: How evidence is removed.
        states: Which evidence.
        score: What is read from the logits, of `SCORES`.
    """

    operator: Operator
    states: States
    score: str = "log_odds"

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise UsageError(f"Unknown score {self.score!r}.", nearest(str(self.score), SCORES))


def removed_sets(states: States) -> tuple[Tensor, Tensor]:
    """Fingerprint and size of what each state removes: equal sets of units have equal fingerprints.

    Every unit has a random 64-bit word; a set's fingerprint is the wrapping sum of its words. In the order
    of a ranking that is a difference of prefix sums, so no mask is built.

    Returns:
        (S,) int64 fingerprints and (S,) int64 numbers of removed units, on the CPU.

    Raises:
        UsageError: For a ranking that is not a permutation.
    """
    units, device = states.units, states.rankings.device
    row, low, high = (x.to("cpu", torch.long) for x in (states.row, states.low, states.high))
    low, high = low.clamp(0, units), high.clamp(0, units)
    high = torch.maximum(low, high)
    fingerprints = torch.zeros(len(row), dtype=torch.int64)
    if not len(row):
        return fingerprints, high - low
    words = _words(units, str(tuple(states.rankings.shape[1:]))).to(device)
    chunk = max(1, _ENTRIES // units)
    for start in range(0, len(states.rankings), chunk):
        chosen = ((row >= start) & (row < start + chunk)).nonzero()[:, 0]
        if not len(chosen):
            continue
        ranks = states.rankings[start : start + chunk].flatten(1).long()
        if int(ranks.min()) < 0 or int(ranks.max()) >= units:
            raise UsageError(f"Ranks must lie in 0 … {units - 1}, each once.")
        prefix = torch.zeros(len(ranks), units + 1, dtype=torch.int64, device=device)
        prefix[:, 1:].scatter_(1, ranks, words.expand_as(ranks))
        if (prefix[:, 1:] == 0).any():  # no word is 0: a rank was not given to any unit
            raise UsageError(f"Ranks must lie in 0 … {units - 1}, each once.", "Make them by rank_units.")
        torch.cumsum(prefix, dim=1, out=prefix)
        at = (row[chosen] - start).to(device)
        sums = prefix[at, high[chosen].to(device)] - prefix[at, low[chosen].to(device)]
        fingerprints[chosen] = sums.cpu()
    return fingerprints, high - low


def _words(count: int, name: str) -> Tensor:
    """Random odd 64-bit words, the same everywhere."""
    generator = torch.Generator().manual_seed(derive_seed(0, "words", name))
    return torch.randint(-(2**63), 2**63 - 1, (count,), generator=generator, dtype=torch.int64) | 1


def image_words(count: int) -> Tensor:
    """A random 64-bit word per image of a batch."""
    return _words(count, "images")


@dataclass(frozen=True, eq=False)
class Queue:
    """Distinct states of one operator on one kind of units, those of one image or of one size side by side.

    Args:
        operator: None where nothing is removed.
        rankings: (R, rows, cols), on the device.
        image: (U,) image of every state, on the host.
        columns: (2, U) long: image and ranking of every state, on the device.
        bounds: (2, U) int32: low and high, likewise.
        lengths: How many states each batch takes, in order; together U.
    """

    operator: Operator | None
    rankings: Tensor
    image: np.ndarray
    columns: Tensor
    bounds: Tensor
    lengths: Sequence[int]


@dataclass(frozen=True, eq=False)
class _StateColumns:
    """A request's states on the host: key of image and removed set, removed units, (4, S) columns."""

    key: np.ndarray
    removed: np.ndarray
    columns: np.ndarray


def plan(
    requests: Sequence[Request],
    images: int,
    device: torch.device,
    batch_size: int,
    by_size: Callable[[Operator], bool],
) -> tuple[list[Queue], list[np.ndarray]]:
    """Queue every distinct state once.

    Args:
        requests: States of any operators.
        images: Size of the batch that they refer to.
        device: Where the model runs.
        batch_size: States of a batch, at most.
        by_size: Whether an operator's states cost less the more they remove.

    Returns:
        The queues, and for every request the place (S,) of each of its states among the results of all
        queues laid end to end.
    """
    tables = [_tabulate(request, image_words(images)) for request in requests]
    places = [np.zeros(len(table.key), np.int64) for table in tables]
    groups: dict[tuple[Operator | None, tuple[int, ...]], list[tuple[int, np.ndarray]]] = {}
    for index, (request, table) in enumerate(zip(requests, tables, strict=True)):
        units = tuple(request.states.rankings.shape[1:])
        removes = table.removed > 0
        for key, chosen in (((None, ()), ~removes), ((request.operator, units), removes)):
            if chosen.any():
                groups.setdefault(key, []).append((index, np.flatnonzero(chosen)))
    queues: list[Queue] = []
    done = 0
    for (operator, units), members in groups.items():
        rankings, offsets = [], []
        if operator is not None:
            rankings, offsets = _distinct([requests[index].states.rankings for index, _ in members])
        joined = (
            torch.cat([part.to(device) for part in rankings]) if rankings else torch.empty(0, device=device)
        )
        key = np.concatenate([tables[index].key[chosen] for index, chosen in members])
        columns = np.concatenate([tables[index].columns[:, chosen] for index, chosen in members], axis=1)
        if operator is not None:
            columns[1] += np.repeat(offsets, [len(chosen) for _, chosen in members])
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        order = np.lexsort((first, columns[0, first]))  # by image, then as asked
        if operator is not None and by_size(operator):
            removed = np.concatenate([tables[index].removed[chosen] for index, chosen in members])[first]
            left = math.prod(units) - removed[order]
            arranged, lengths = batches_by_size(left, batch_size, CALL.get(device.type, CALL["cuda"]))
            order = order[arranged]
        else:
            lengths = batches_of(len(order), batch_size)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        asked = done + place[inverse]
        for (index, chosen), part in zip(members, _split(asked, members), strict=True):
            places[index][chosen] = part
        columns = np.ascontiguousarray(columns[:, first[order]])
        where, bounds = (torch.from_numpy(part).to(device) for part in (columns[:2], columns[2:]))
        queues.append(Queue(operator, joined, columns[0], where, bounds.int(), lengths))
        done += len(order)
    return queues, places


def _tabulate(request: Request, words: Tensor) -> _StateColumns:
    states = request.states
    row, low, high = (x.to("cpu", torch.long) for x in (states.row, states.low, states.high))
    image = states.image.to("cpu", torch.long)[row]
    fingerprint, removed = removed_sets(states)
    return _StateColumns(
        key=(fingerprint + words[image]).numpy(),
        removed=removed.numpy(),
        columns=torch.stack([image, row, low, high]).numpy(),
    )


def _distinct(tables: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
    """Tables of rankings, each object once, and where in their concatenation every given one starts."""
    distinct: list[Tensor] = []
    starts: dict[int, int] = {}
    length = 0
    for table in tables:
        if id(table) not in starts:
            starts[id(table)] = length
            distinct.append(table)
            length += len(table)
    return distinct, [starts[id(table)] for table in tables]


def _split(values: np.ndarray, members: Sequence[tuple[int, np.ndarray]]) -> list[np.ndarray]:
    return np.split(values, np.cumsum([len(chosen) for _, chosen in members])[:-1])


def batches_of(states: int, batch_size: int) -> list[int]:
    """Lengths of batches that are full, but for the last."""
    full, rest = divmod(states, batch_size)
    return [batch_size] * full + [rest] * bool(rest)


def batches_by_size(sizes: np.ndarray, batch_size: int, call: int) -> tuple[np.ndarray, list[int]]:
    """Divide states of which each costs as much as the largest of its batch.

    A batch costs `call + states · largest size`. Full batches hold states of one size, and what is left over
    of each size is joined with its neighbours as is cheapest; where full batches of several sizes are
    cheaper still, since a call is dear, they are taken.

    Args:
        sizes: (S,) tokens of every state.
        batch_size: States of a batch, at most.
        call: What a pass costs beside its tokens, in tokens.

    Returns:
        (S,) the order of the states, those of one size as given, and the lengths of the batches.
    """
    order = np.argsort(-sizes, kind="stable")
    plain = batches_of(len(order), batch_size)
    _, starts, counts = np.unique(-sizes[order], return_index=True, return_counts=True)
    stops, rest = starts + counts, counts % batch_size
    whole = [np.arange(a, b) for a, b in zip(starts, stops - rest, strict=True)]
    left = [np.arange(a, b) for a, b in zip(stops - rest, stops, strict=True) if a < b]
    if not left:
        return order, plain
    leftovers = [(len(places), int(sizes[order[places[0]]])) for places in left]
    divided = order[np.concatenate([*whole, *left])]
    lengths = batches_of(int((counts - rest).sum()), batch_size) + _joined(leftovers, batch_size, call)
    if _cost(sizes[order], plain, call) < _cost(sizes[divided], lengths, call):
        return order, plain
    return divided, lengths


def _joined(leftovers: list[tuple[int, int]], batch_size: int, call: int) -> list[int]:
    """Lengths of the cheapest batches of neighbours among (states, size), the largest size first."""
    cheapest: list[tuple[int, list[int]]] = [(0, [])]  # of those before each place
    for stop in range(1, len(leftovers) + 1):
        states, ways = 0, []
        for start in range(stop - 1, -1, -1):
            states += leftovers[start][0]
            if states > batch_size:
                break
            cost, lengths = cheapest[start]
            ways.append((cost + call + states * leftovers[start][1], [*lengths, states]))
        cheapest.append(min(ways, key=lambda way: way[0]))
    return cheapest[-1][1]


def _cost(sizes: np.ndarray, lengths: list[int], call: int) -> int:
    """Of batches of states in their order, the largest of each first."""
    firsts = np.cumsum([0, *lengths[:-1]])
    return call * len(lengths) + int((sizes[firsts] * lengths).sum())
