"""What is chosen by name: our own, of installed packages, of the user; and options against their types."""

import inspect
import logging
import math
import os
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import wraps
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Generic, TypeVar

from xai.core.errors import UsageError, nearest

T = TypeVar("T")
log = logging.getLogger(__name__)

_LONGEST = 80  # characters of a value in a message
MOST = 1_000_000  # of anything that is counted: steps, samples, images at once
_WORDS = {
    bool: "true or false",
    int: "a whole number (of 64 bits)",
    float: "a finite number",
    str: "a word",
    types.NoneType: "nothing",
    os.PathLike: "a path",
}


def is_import_path(name: str) -> bool:
    """Whether a name means code to import, `package.module:Class`, rather than something registered."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")])


def import_object(path: str, folder: Path | None = None) -> Any:
    """Import what `package.module:Class` names; this runs the module's code.

    Args:
        path: Module and attribute; the attribute may have dots of its own.
        folder: Searched before the installed packages, and only while this import lasts.

    Raises:
        UsageError: The module cannot be imported, lacks the attribute, or has the name of another module
            that is in use already.
    """
    module, _, attribute = path.partition(":")
    if folder is not None:
        folder = folder.resolve()
        _refuse_namesake(module.partition(".")[0], folder)
        sys.path.insert(0, str(folder))
    try:
        found: Any = import_module(module)
    except ImportError as error:
        where = "" if folder is None else f", or put the module into {folder}"
        raise UsageError(f"{module} cannot be imported: {error}.", f"Install its package{where}.") from error
    except (Exception, SystemExit) as error:  # of code that is not ours
        raise UsageError(f"{module} cannot be imported: {type(error).__name__}: {error}.") from error
    finally:
        if folder is not None and str(folder) in sys.path:
            sys.path.remove(str(folder))
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise UsageError(f"{module} has no {attribute}.", "Name a class of that module.") from None
    return found


def _refuse_namesake(package: str, folder: Path) -> None:
    """Python keeps one module per name: a second file of that name would be passed over in silence."""
    beside = PathFinder.find_spec(package, [str(folder)])
    loaded = getattr(sys.modules.get(package), "__spec__", None)
    if beside is not None and loaded is not None and loaded.origin != beside.origin:
        raise UsageError(
            f"Another module named {package} is in use already ({loaded.origin}).",
            f"Rename {beside.origin}.",
        )


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from names to entries; refuses duplicates and suggests the nearest valid name.

    Installed packages are looked at only when a name is not registered here, or when all are listed. One that
    fails is left out of lists, with a warning; the error says why where its name is asked for.

    Args:
        kind: What an entry is, for messages: "method".
        group: Entry-point group in which installed packages offer entries: "xai.methods".
        enter: Registers an object of foreign code, unless it is registered, and returns its name. What it
            raises, a UsageError, is read after the object's name: "is no subclass of …".
    """

    def __init__(self, kind: str, group: str | None = None, enter: Callable[[Any], str] | None = None):
        self.kind = kind
        self.group = group
        self._enter = enter
        self._entries: dict[str, T] = {}
        self._import_paths: dict[str, str] = {}
        self._offers: dict[str, list[EntryPoint]] | None = None
        self._failures: dict[str, UsageError | None] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """Decorate an entry to register it under `name`."""

        def register(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered already")
            self._entries[name] = entry
            return entry

        return register

    @property
    def registered(self) -> Mapping[str, T]:
        """The entries of all code that was imported so far; packages that only offer some are not asked."""
        return self._entries

    def names(self) -> set[str]:
        """All names that can be asked for, those included whose package may fail; nothing is imported."""
        return {*self._entries, *self._import_paths, *self._offered()}

    def resolve(self, name: str, *, trusted: bool, folder: Path | None = None) -> str:
        """The registry name that is meant; code that is named as `package.module:Class` is imported for it.

        Afterwards the registry knows the entry by both names.

        Args:
            name: `package.module:Class`; any other is returned as it is.
            trusted: Whether code may be imported. A name that the user typed may; for one that a file holds
                it is the user's decision.
            folder: Where the module may lie, besides the installed packages; searched for this import only.

        Raises:
            UsageError: Code is named that is not trusted, cannot be imported or is no such entry, or whose
                name is taken.
        """
        if not is_import_path(name) or name in self._import_paths:
            return self._import_paths.get(name, name)
        if not trusted:
            raise UsageError(
                f"{self.kind.capitalize()} {name!r} names code, which can do anything on this machine; "
                "nothing was imported.",
                "If you trust it: --trust-code, or trust_code=True in Python.",
            )
        try:
            self._import_paths[name] = self.enter(import_object(name, folder), name)
        except UsageError as error:
            message = f"{self.kind.capitalize()} {name!r} cannot be used: {error.message}"
            raise UsageError(message, error.hint) from error
        return self._import_paths[name]

    def enter(self, entry: Any, path: str | None = None) -> str:
        """Register an object of foreign code, unless it is registered already.

        Args:
            entry: A class or function.
            path: Its name in messages; default `module:Class`.

        Returns:
            Its registry name.

        Raises:
            UsageError: It is no such entry, or its name is taken.
        """
        path = path or f"{entry.__module__}:{entry.__qualname__}"
        if self._enter is None:
            raise UsageError(f"a {self.kind} cannot come from other code.")
        try:
            return self._enter(entry)
        except UsageError as error:
            raise UsageError(f"{path} {error.message}", error.hint) from error
        except ValueError as error:  # from `add`
            raise UsageError(f"{error}.", f"Give {path} another name.") from error

    def package_of(self, name: str) -> str | None:
        """The installed package that offers an entry; None for our own, and for code that was imported."""
        offers = self._offered().get(self._import_paths.get(name, name))
        return _package(offers[0]) if offers else None

    def __getitem__(self, name: str) -> T:
        name = self._import_paths.get(str(name), str(name))
        if name not in self._entries:
            if name not in self._offered():
                raise self._unknown(name)
            if (failure := self._load(name)) is not None:
                raise failure
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if self._import_paths.get(name, name) in self._entries:
            return True
        return name in self._offered() and self._load(name) is None

    def __iter__(self) -> Iterator[str]:
        for name in self._offered():
            self._load(name)
        return iter(list(self._entries))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _offered(self) -> Mapping[str, list[EntryPoint]]:
        """What installed packages offer, by name; nothing of them is imported."""
        if self._offers is None:
            self._offers = {}
            for entry in entry_points(group=self.group) if self.group else ():
                self._offers.setdefault(entry.name, []).append(entry)
        return self._offers

    def _load(self, name: str) -> UsageError | None:
        """Register what installed packages offer under this name; the error says why it cannot be had."""
        if name not in self._failures:
            offers = self._offered()[name]
            packages = " and ".join(sorted({_package(offer) for offer in offers}))
            self._failures[name] = None  # so that code which lists this registry when imported ends
            try:
                self._load_offers(name, offers)
            except UsageError as error:
                self._failures[name] = UsageError(
                    f"{self.kind.capitalize()} {name!r} of the installed package {packages} cannot be used: "
                    f"{error.message}",
                    error.hint or f"Tell its authors, or uninstall {packages}.",
                )
                log.warning("%s", self._failures[name])
        return self._failures[name]

    def _load_offers(self, name: str, offers: Sequence[EntryPoint]) -> None:
        if len(offers) > 1:
            raise UsageError("they all offer one of this name.", "Uninstall all of them but one.")
        path = f"{offers[0].module}:{offers[0].attr}"
        called = self.enter(import_object(path), path)
        if called != name:
            raise UsageError(f"{path} is called {called!r}.", f"The entry point must be named {called!r}.")

    def _unknown(self, name: str) -> UsageError:
        if is_import_path(name):
            return UsageError(
                f"{self.kind.capitalize()} {name!r} names code that was not imported.",
                "Type it on the command line, or resolve it first.",
            )
        return UsageError(f"Unknown {self.kind} {name!r}.", nearest(name, self.names()))


def _package(offer: EntryPoint) -> str:
    return offer.dist.name if offer.dist is not None else offer.module


def checked(function: Callable[..., Any], what: str, unchecked: Collection[str] = ()) -> Callable[..., Any]:
    """The function, which refuses arguments that are not of the types it declares.

    Args:
        function: Its first argument is passed on as it is: `self`.
        what: Of whom they are options, for messages: "Method 'rise'".
        unchecked: Arguments that are no options; the function says itself what is wrong with them.

    Returns:
        The same with the same signature; raises UsageError.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        hints = typing.get_type_hints(function)
        given = signature.bind_partial(*args, **options)
        for name, value in list(given.arguments.items())[1:]:
            if name in hints and name not in unchecked:
                check_type(f"{what}: {name}", value, hints[name])
                given.arguments[name] = _plain(value)
        return function(*given.args, **given.kwargs)

    return run


def check_type(name: str, value: object, declared: Any) -> None:
    """Raise a UsageError unless the value is of the declared type; numbers must be finite."""
    if not _is(value, declared):
        text = repr(value)
        raise UsageError(
            f"{name}={text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'} is not understood.",
            f"It takes {' or '.join(dict.fromkeys(_words(declared)))}.",
        )


def check_option(option: str, value: object, valid: Collection[str | None]) -> None:
    """Raise a UsageError that names the nearest valid value."""
    if not (value is None or isinstance(value, str)) or value not in valid:
        raise UsageError(f"{option}={value!r} is unknown.", nearest(str(value), map(str, valid)))


def check_counts(**counts: int) -> None:
    """Raise a UsageError unless every count is at least 1, and no more than could ever be done."""
    counted = ", ".join(f"{name}={count}" for name, count in counts.items())
    if min(counts.values()) < 1:
        raise UsageError(f"{counted}: 1 or more is needed.")
    if max(counts.values()) > MOST:
        raise UsageError(f"{counted}: {MOST} is the most.")


def _is(value: Any, declared: Any) -> bool:
    origin, inner = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        return any(_is(value, one) for one in inner)
    if declared in (int, float):
        return _is_number(value, declared)
    if origin is Sequence and isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return all(_is(one, inner[0]) for one in value)
    if origin is Mapping and isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value)
    if declared is None or isinstance(declared, type):
        return isinstance(value, types.NoneType if declared is None else declared)
    # what is written in other ways is the function's own to check
    return origin not in (Sequence, Mapping)


def _is_number(value: Any, declared: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, Integral if declared is int else Real):
        return False
    return -(2**63) <= int(value) < 2**63 if isinstance(value, Integral) else math.isfinite(value)


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, which every library takes."""
    if isinstance(value, Integral) and not isinstance(value, int):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, int | float):
        return float(value)
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _words(declared: Any) -> list[str]:
    origin, inner = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        return [words for one in inner for words in _words(one)]
    if origin is Sequence:
        return ["a list"]
    if origin is Mapping:
        return ["a mapping"]
    return [_WORDS.get(declared) or f"a {getattr(declared, '__name__', declared)}"]
