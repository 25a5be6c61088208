"""How states are divided into forward passes, so that little is computed for nothing."""

import numpy as np

CALL = {"cpu": 64, "cuda": 4096}
"""By device: what a pass costs beside its tokens, in tokens (ViT-B/16 and the shipped detector alike)."""


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
