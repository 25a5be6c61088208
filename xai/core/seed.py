"""One seed, many independent streams."""

from hashlib import sha256


def derive_seed(seed: int, *names: object) -> int:
    """Derive the seed of a named stream; equal names give equal seeds on every machine.

    Returns:
        An integer in [0, 2**63).
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1
