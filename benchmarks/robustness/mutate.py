"""Changes that any kind of input can suffer: of bytes, and of trees of mappings and lists."""

import copy
import datetime
from collections.abc import Callable
from random import Random
from typing import Any

DEEP = (3, 40, 400, 3000, 100_000)
NAMES = (
    "a",
    "path",
    "x y",
    "ä",
    "名前",
    "‮abc",
    "..",
    "../x",
    "~nobody/x",
    "/dev/null",
    "no/such/file",
    "C:\\x\\y.png",
    "a\x00b",
    "a\nb",
    "a\tb",
    "%s{0}{x}",
    "{{ 7*7 }}",
    "$(touch CODE-RAN)",
    "`x`",
    "<b>",
    "'",
    '"',
    "a,b",
    "a;b",
    "😀",
    "\udc80",
    "con",
    "-",
    "--help",
    "x" * 300,
    "x" * 5000,
    "file:///x",
    "*",
    "[",
    "{0..9}",
    "hf:x",
    "local:.",
    "os:system",
    "None",
    "nan",
    "1e400",
    "0x10",
    "1_000",
    "true",
    "2026-13-45",
    "",
    " ",
    ".",
    "fake",
    "real",
    "all_layers",
    "mean",
    "cpu",
    "cuda:99",
    "float16",
    "margin",
    "demo",
)
NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    31,
    33,
    255,
    256,
    65_536,
    2**31 - 1,
    2**31,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
    -(10**30),
    0.0,
    -0.0,
    0.5,
    1e-320,
    1e-9,
    1e9,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
)


def odd_value(rng: Random, depth: int = 0) -> Any:
    """Something of a type or size that nobody expected."""
    pick = rng.randrange(11 if depth < 2 else 7)
    if pick < 2:
        return rng.choice(NAMES)
    if pick < 4:
        return rng.choice(NUMBERS)
    if pick == 4:
        return rng.choice((None, True, False))
    if pick == 5:
        return rng.randrange(-100, 100)
    if pick == 6:
        return rng.choice(([], {}, [[]], [None], {"": ""}))
    if pick == 7:
        return [odd_value(rng, depth + 1) for _ in range(rng.randrange(1, 5))]
    if pick == 8:
        return {str(odd_value(rng, 2)): odd_value(rng, depth + 1) for _ in range(rng.randrange(1, 4))}
    if pick == 9:
        return nested(rng, rng.choice(DEEP[:3]))
    return [rng.choice(NUMBERS)] * rng.choice((2, 3, 1000))


def nested(rng: Random, depth: int) -> Any:
    """Lists or mappings in each other."""
    inner: Any = rng.choice((1, "x", None))
    as_list = rng.random() < 0.5
    for _ in range(depth):
        inner = [inner] if as_list else {"a": inner}
    return inner


def odd_yaml_value(rng: Random) -> Any:
    """As `odd_value`, and what YAML knows beyond JSON."""
    if rng.random() < 0.85:
        return odd_value(rng)
    return rng.choice(
        (
            datetime.date(1, 1, 1),
            datetime.datetime(2026, 1, 1, 12),
            b"\x00\xff",
            {"a", "b"},
            {1: 2},
            {None: 1},
            {True: 1, 1.5: 2},
            {datetime.date(2020, 1, 1): 1},
        )
    )


def places(tree: Any, path: tuple = ()) -> list[tuple]:
    """Paths of all values of a tree, the root's () first."""
    found = [path]
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        found += places(value, (*path, key))
    return found


def changed_tree(rng: Random, tree: Any, value: Callable[[Random], Any] = odd_value, edits: int = 0) -> Any:
    """A copy with one to three values, keys or orders changed."""
    tree = copy.deepcopy(tree)
    for _ in range(edits or rng.choice((1, 1, 1, 2, 3))):
        tree = _edited(rng, tree, value)
    return tree


def _edited(rng: Random, tree: Any, value: Callable[[Random], Any]) -> Any:
    path = rng.choice(places(tree))
    if not path:
        return tree if rng.random() < 0.8 else value(rng)
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    key, how = path[-1], rng.randrange(10)
    if how < 5:
        parent[key] = value(rng)
    elif how == 5:
        del parent[key]
    elif how == 6:
        parent[key] = [parent[key]] * rng.choice((1, 2, 3)) if rng.random() < 0.7 else str(parent[key])
    elif isinstance(parent, dict):
        if how == 7:
            parent[misspelt(rng, str(key))] = parent.pop(key)
        elif how == 8:
            parent[rng.choice((*NAMES[:12], "spec", "config", "factory", "options", "size", "name"))] = value(
                rng
            )
        else:
            parent[key] = {"x": parent[key]}
    else:
        parent.insert(
            rng.randrange(len(parent) + 1), copy.deepcopy(rng.choice(parent)) if how < 9 else value(rng)
        )
    return tree


def misspelt(rng: Random, word: str) -> str:
    """A word with one sign changed."""
    if not word:
        return "x"
    at = rng.randrange(len(word))
    return rng.choice(
        (
            word[:at] + word[at + 1 :],
            word + "s",
            word.upper(),
            f" {word}",
            f"{word}\x00",
            word.replace("_", "-"),
            word[:at] + rng.choice("xé_.1") + word[at:],
        )
    )


def broken_bytes(rng: Random, content: bytes, other: bytes = b"") -> bytes:
    """A file damaged on its way: flipped, cut, spliced, filled."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            return rng.choice((b"", b"\x00", b"\xff" * 64))
        # damage near the beginning hits headers, which lead furthest
        at = rng.randrange(len(data)) if rng.random() < 0.6 else rng.randrange(min(len(data), 128))
        length = min(rng.choice((1, 2, 4, 16, 64, 512)), len(data) - at)
        how = rng.randrange(9)
        if how < 3:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 3:
            data[at : at + length] = rng.randbytes(length)
        elif how == 4:
            del data[rng.choice((at, -length)) :]
        elif how == 5:
            data[at:at] = rng.choice((rng.randbytes(length), bytes(length), data[:length], b"\xff" * length))
        elif how == 6:
            data[at : at + length] = rng.choice((bytes(length), b"\xff" * length, b"9" * length))
        elif how == 7:
            del data[at : at + length]
        else:
            source = other or content
            start = rng.randrange(max(len(source), 1))
            data[at : at + length] = source[start : start + length]
    return bytes(data)
