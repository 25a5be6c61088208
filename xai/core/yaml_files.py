"""YAML files as plain data with the line of every key; whatever is broken in one is an error with its line.

Plain words mean what YAML 1.2 says (`no`, `on` and dates are text), and what YAML 1.1 and 1.2 read as
different numbers is refused. Aliases, depth and size have limits, so that no file can keep the reader busy.
"""

import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from xai.core.errors import ConfigError

Loc = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_NODES = 100_000  # aliases counted as often as they are used
MAX_DEPTH = 50
_LONGEST = 60  # characters of a value in a message

_TEXT, _NULL, _BOOL, _INT, _FLOAT, _MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "null", "bool", "int", "float", "merge")
)
_WORDS = {
    _NULL: re.compile(r"~|null|Null|NULL|"),
    _BOOL: re.compile(r"true|True|TRUE|false|False|FALSE"),
    _INT: re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+"),
    _FLOAT: re.compile(
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
    _MERGE: re.compile("<<"),
}
# octal, binary and base-60 numbers and digits with underscores: numbers in one version of YAML, text or
# other numbers in the other
_DOUBTFUL = re.compile(
    r"[-+]?0[0-9_]+|[-+]?0o[0-7]+|[-+]?0b[01_]+|[-+]?0x[0-9a-fA-F_]*_[0-9a-fA-F_]*"
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
    r"|[-+]?(?=[0-9.]*_)[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?"
)


@dataclass(frozen=True)
class YamlFile:
    """What a YAML file says.

    Args:
        path: Of the file, for messages.
        content: Text, whole and real finite numbers, booleans, None, lists and mappings with text as keys.
        unread: Keys of the outermost mapping whose values were passed over.
    """

    path: Path
    content: dict[str, Any]
    unread: tuple[str, ...] = ()
    lines: dict[Loc, int] = field(default_factory=dict, repr=False)

    def line(self, loc: Loc) -> int:
        """Line of the innermost part of `loc` that stands in the file."""
        return next((self.lines[loc[:end]] for end in range(len(loc), 0, -1) if loc[:end] in self.lines), 1)


def read_yaml(path: str | Path, what: str, hint: str, unread: Collection[str] = ()) -> YamlFile:
    """Read a YAML file that holds one mapping.

    Args:
        path: Of a file of at most 1 MB, in UTF-8.
        what: The kind of file, for messages: "benchmark file".
        hint: Where such a file comes from, one sentence.
        unread: Keys of the outermost mapping that may hold anything: they are passed over.

    Raises:
        ConfigError: There is no such file, or it is no such YAML; says file:line where there is one.
    """
    path = Path(path)
    text = _decoded(path, _content(path, what, hint))
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{path} must hold `key: value` lines.", hint)
        reading = _Reading(path)
        passed = [key.value for key, _ in node.value if _is_one_of(key, unread)]
        node.value = [pair for pair in node.value if not _is_one_of(pair[0], unread)]
        content = reading.mapping(node, ())
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigError(
            f"{path}:{line}: cannot be read as YAML: the character {chr(error.character)!r} is not allowed.",
            "Delete it.",
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = ", ".join(part.replace("\n", " ") for part in (error.context, error.problem) if part)
        raise ConfigError(f"{where}: cannot be read as YAML: {problem}.") from None
    return YamlFile(path, content, tuple(sorted(set(passed))), reading.lines)


def _is_one_of(key: yaml.Node, names: Collection[str]) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value in names


def _content(path: Path, what: str, hint: str) -> bytes:
    """All bytes of a regular file; what is none might never end."""
    try:
        mode = path.stat().st_mode
        content = b""
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"There is no {what} {path}.", hint) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise ConfigError(f"{path} is {kind}, where a {what} is needed.", hint)
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES // 1_000_000} MB, too much for a {what}.", hint)
    return content


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{path} is written in UTF-16.", "Save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: cannot be read as YAML: it is not UTF-8.", "Save it as UTF-8."
        ) from None


class _Loader(yaml.SafeLoader):
    """Composes nodes within limits; makes no objects."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - ours, not the shared one of the parent

    def __init__(self, text: str):
        super().__init__(text)
        self._nodes = self._depth = self._deepest = 0
        self._open: list[str] = []
        self._sizes: dict[str, tuple[int, int]] = {}  # anchor → nodes and depth of what it names

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """Tag of a plain word as YAML 1.2 has it; all else is text, a list or a mapping."""
        if kind is yaml.ScalarNode and implicit[0]:
            return next((tag for tag, words in _WORDS.items() if words.fullmatch(value)), _TEXT)
        return super().resolve(kind, value, implicit)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        anchor, before = event.anchor, self._nodes
        if isinstance(event, yaml.AliasEvent):
            if anchor in self._open:
                raise _problem(f"*{anchor} stands inside of what it names", event)
            nodes, depth = self._sizes.get(anchor, (0, 0))
            self._count(nodes, depth, event)
            return super().compose_node(parent, index)
        self._count(1, 1, event)
        self._depth += 1
        deepest, self._deepest = self._deepest, self._depth
        if anchor is not None:
            self._open.append(anchor)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if anchor is not None:
            self._open.remove(anchor)
            self._sizes[anchor] = self._nodes - before, self._deepest - self._depth
        self._deepest = max(deepest, self._deepest)
        return node

    def _count(self, nodes: int, depth: int, event: Any) -> None:
        self._nodes += nodes
        if self._depth + depth > MAX_DEPTH:
            raise _problem(f"more than {MAX_DEPTH} lists and mappings stand in each other", event)
        if self._nodes > MAX_NODES:
            raise _problem(f"there are more than {MAX_NODES} values, those of aliases included", event)
        self._deepest = max(self._deepest, self._depth + depth)


def _problem(text: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=event.start_mark)


class _Reading:
    """Nodes of one file to plain data."""

    def __init__(self, path: Path):
        self._path = path
        self.lines: dict[Loc, int] = {}

    def value(self, node: Any, loc: Loc) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self.mapping(node, loc)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            for index, item in enumerate(node.value):
                self.lines[*loc, index] = _line(item)
            return [self.value(item, (*loc, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise self._refusal(node, f"the tag {_tag(node)} is not understood", "Leave it out.")

    def mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for one in self._merged(value):
                    merged = self.mapping(one, loc) | merged  # of several, the first that says it
                continue
            name = self._key(key)
            if name in own:
                raise self._refusal(key, f"{_short(name)} is said twice", "Keep one.")
            self.lines[*loc, name] = _line(key)
            own[name] = self.value(value, (*loc, name))
            self.lines[*loc, name] = _line(key)
        return merged | own

    def _merged(self, node: Any) -> Iterator[yaml.MappingNode]:
        for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(one, yaml.MappingNode):
                raise self._refusal(one, "<< takes in mappings", "Write << : *NAME of a mapping.")
            yield one

    def _key(self, node: Any) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._refusal(node, "a list or mapping is no key", "Keys are text.")
        key = self._scalar(node)
        if not isinstance(key, str):
            raise self._refusal(node, f"the key {_short(node.value)} is no text", "Quote it.")
        return key

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text, tag = node.value, node.tag
        if tag in (_TEXT, _MERGE):
            return self._text(node)
        if tag not in _WORDS:
            raise self._refusal(node, f"the tag {_tag(node)} is not understood", "Leave it out.")
        if not _WORDS[tag].fullmatch(text) and not (tag == _FLOAT and _WORDS[_INT].fullmatch(text)):
            raise self._refusal(node, f"{_short(text)} is no {_tag(node)}", "Leave the tag out.")
        if tag == _NULL:
            return None
        if tag == _BOOL:
            return text.lower() == "true"
        if tag == _INT:
            return self._whole(node)
        return self._real(node)

    def _text(self, node: yaml.ScalarNode) -> str:
        text = node.value
        if node.style is None and _DOUBTFUL.fullmatch(text):
            raise self._refusal(
                node,
                f"{_short(text)} is a number in some versions of YAML and another or text in others",
                "Quote it if it is text; else write it with plain decimal digits.",
            )
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise self._refusal(
                node, f"{_short(text)} holds a character that no text may hold", "Leave it out."
            )
        return text

    def _whole(self, node: yaml.ScalarNode) -> int:
        digits = node.value
        number = int(digits, 0 if "x" in digits else 10) if len(digits) <= 20 else 2**64
        if not -(2**63) <= number < 2**63:
            raise self._refusal(node, f"the number {_short(digits)} is too large", "64 bits must hold it.")
        return number

    def _real(self, node: yaml.ScalarNode) -> float:
        text = node.value
        number = float("nan") if text[-1] in "fFnN" else float(text)
        if not abs(number) < float("inf"):
            raise self._refusal(
                node, f"{_short(text)} is no finite number", "Write a number with plain digits."
            )
        return number

    def _refusal(self, node: Any, what: str, hint: str) -> ConfigError:
        return ConfigError(f"{self._path}:{_line(node)}: {what}.", hint)


def _line(node: Any) -> int:
    return node.start_mark.line + 1


def _tag(node: Any) -> str:
    return node.tag.replace("tag:yaml.org,2002:", "!!")


def _short(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
