"""Which states have to be computed, in which order, and who asked for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xai.perturb.operator import Operator
from xai.perturb.states import Request, image_words, removed_sets


@dataclass(frozen=True, eq=False)
class Queue:
    """Distinct states of one operator on one kind of units, those of one image or of one size side by side.

    Args:
        operator: None where nothing is removed.
        rankings: (R, rows, cols), on the device.
        image: (U,) image of every state, on the host.
        columns: (2, U) long: image and ranking of every state, on the device.
        bounds: (2, U) int32: low and high, likewise.
    """

    operator: Operator | None
    rankings: Tensor
    image: np.ndarray
    columns: Tensor
    bounds: Tensor


@dataclass(frozen=True, eq=False)
class _Table:
    """A request's states on the host: key of image and removed set, removed units, (4, S) columns."""

    key: np.ndarray
    removed: np.ndarray
    columns: np.ndarray


def plan(
    requests: Sequence[Request], images: int, device: torch.device
) -> tuple[list[Queue], list[np.ndarray]]:
    """Queue every distinct state once.

    Args:
        requests: States of any operators.
        images: Size of the batch that they refer to.
        device: Where the model runs.

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
    for (operator, _), members in groups.items():
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
        if operator is not None and operator.batched_by_size:
            removed = np.concatenate([tables[index].removed[chosen] for index, chosen in members])[first]
            order = order[np.argsort(removed[order], kind="stable")]
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        asked = done + place[inverse]
        for (index, chosen), part in zip(members, _split(asked, members), strict=True):
            places[index][chosen] = part
        columns = np.ascontiguousarray(columns[:, first[order]])
        where, bounds = (torch.from_numpy(part).to(device) for part in (columns[:2], columns[2:]))
        queues.append(Queue(operator, joined, columns[0], where, bounds.int()))
        done += len(order)
    return queues, places


def _tabulate(request: Request, words: Tensor) -> _Table:
    states = request.states
    row, low, high = (x.to("cpu", torch.long) for x in (states.row, states.low, states.high))
    image = states.image.to("cpu", torch.long)[row]
    fingerprint, removed = removed_sets(states)
    return _Table(
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
