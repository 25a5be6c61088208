"""A source of images in shards: what is in each file is found out once, and a range opens only its own."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from glob import glob, has_magic
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from xai.bench.config.method_configurations import digest
from xai.bench.data.files import Folder, RemotePath, folder_of, in_threads, read_json, write_json
from xai.bench.data.shard_files import KINDS, ShardContent, content_of_shard, open_shard
from xai.core import ConfigError, DataError, Sample
from xai.core.files import fault_of, is_folder, short_path
from xai.data.samples import Entry

INDEX = "shards.json"
MOST = 1_000_000  # files that one pair of braces may stand for


class _IndexedShard(BaseModel):
    """What is kept of a file."""

    model_config = ConfigDict(extra="forbid")

    stamp: str
    samples: Annotated[int, Field(ge=0)]
    sha256: str


Each = Callable[[Callable[[Folder], ShardContent], Sequence[Folder]], Sequence[ShardContent]]
_INDEX = TypeAdapter(dict[str, _IndexedShard])
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class ShardFile:
    """A file of samples.

    Args:
        path: A path, or a URL.
        name: That its samples' names begin with.
        content: What is in it.
    """

    path: Folder
    name: str
    content: ShardContent


@dataclass(frozen=True)
class ShardImages:
    """Images in shards, by their place in all of them one after the other.

    Args:
        files: Of the window, all where there is none.
        first: Place of their first sample.
        total: Images of the data.
    """

    files: Sequence[ShardFile]
    first: int
    total: int
    _ends: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ends = list(accumulate((one.content.samples for one in self.files), initial=self.first))
        object.__setattr__(self, "_ends", ends)

    def __len__(self) -> int:
        return self.total

    def entries(self, start: int, stop: int) -> Sequence[Entry]:
        return [
            Entry(name, partial(_sample, one, number, name))
            for one, numbers in self._parts(start, stop)
            for number in numbers
            for name in [f"{one.name}/{_open(one).name(number)}"]
        ]

    def content(self, start: int, stop: int) -> list[Any]:
        return [
            [one.name, one.content.sha256, numbers.start, numbers.stop]
            for one, numbers in self._parts(start, stop)
        ]

    def digest(self) -> str:
        return digest([[one.name, one.content.sha256] for one in self.files], 24)

    def faults(self) -> Sequence[tuple[str, str]]:
        return ()

    def window(self, start: int, stop: int) -> "ShardImages":
        begin, end = bisect_right(self._ends, start) - 1, bisect_right(self._ends, stop - 1)
        return ShardImages(self.files[begin:end], self._ends[begin], self.total)

    def _parts(self, start: int, stop: int) -> Iterator[tuple[ShardFile, range]]:
        """The files that a range lies in, and which of their samples."""
        number = bisect_right(self._ends, start) - 1
        while start < stop:
            begin, end = self._ends[number], min(self._ends[number + 1], stop)
            if start < end:
                yield self.files[number], range(start - begin, end - begin)
            start, number = max(start, end), number + 1


def open_shards(
    patterns: Iterable[str], limit: int | None = None, run: Folder | None = None, each: Each = in_threads
) -> ShardImages:
    """Find the files and what is in them.

    Every file is read once as a whole; what was found is kept in the run's folder, and holds as long as a
    file has the size and the time of change that it had.

    Args:
        patterns: Files, folders, globs, URLs; `{000..123}` stands for each of the numbers.
        limit: At most so many images.
        run: Folder of the run, if there is one.
        each: Looks at the files; those of a large cluster are read by all of it.

    Raises:
        ConfigError: A file of another kind, or two of one name.
        DataError: No file or no sample, or a file that cannot be read.
    """
    paths = [path for pattern in patterns for path in _expand(pattern)]
    names: dict[str, Folder] = {}
    for path in paths:
        if (other := names.setdefault(path.stem, path)) is not path:
            raise ConfigError(
                f"Two shards are named {path.stem!r}: {other} and {path}.",
                "Samples are named by their shard.",
            )
    known = _known(run)
    stamps = in_threads(_stamp, paths)
    before = {name: one.stamp for name, one in known.items()}
    news = [path for path, stamp in zip(paths, stamps, strict=True) if before.get(str(path)) != stamp]
    contents = dict(zip(news, each(content_of_shard, news), strict=True))
    index = {
        str(path): _IndexedShard(stamp=stamp, **asdict(contents[path]))
        if path in contents
        else known[str(path)]
        for path, stamp in zip(paths, stamps, strict=True)
    }
    if run is not None and news:
        write_json(run / INDEX, {name: one.model_dump() for name, one in index.items()})
    files = [
        ShardFile(path, path.stem, ShardContent(one.samples, one.sha256))
        for path in paths
        for one in [index[str(path)]]
        if one.samples
    ]
    total = sum(one.content.samples for one in files)
    if not total:
        raise DataError("The shards hold no sample.")
    return ShardImages(files, 0, min(total, limit or total))


def _known(run: Folder | None) -> dict[str, _IndexedShard]:
    """What an earlier call found out; nothing where its file is broken: all is looked at again then."""
    if run is None or not (run / INDEX).exists():
        return {}
    try:
        return _INDEX.validate_python(read_json(run / INDEX))
    except (DataError, ValidationError):
        return {}


def _stamp(path: Folder) -> str:
    try:
        if isinstance(path, RemotePath):
            return path.stamp()
        status = path.stat()
    except (OSError, ValueError) as error:
        raise DataError(
            f"{short_path(path)} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from None
    return f"{status.st_size} {status.st_mtime_ns}"


def _expand(pattern: str) -> Sequence[Folder]:
    """Files, in order."""
    if (braces := _RANGE.search(pattern)) is not None:
        low, high = braces.groups()
        if max(len(low), len(high)) > 9 or int(high) - int(low) >= MOST:
            raise ConfigError(f"{short_path(pattern)} stands for more than {MOST} files.", "Is it a slip?")
        numbers = range(int(low), int(high) + 1)
        before, after = pattern[: braces.start()], pattern[braces.end() :]
        return [path for one in numbers for path in _expand(f"{before}{one:0{len(low)}d}{after}")]
    path = folder_of(pattern)
    if isinstance(path, RemotePath):
        return path.matches(KINDS)
    fault = fault_of(path)
    if is_folder(path):
        return sorted(one for one in path.iterdir() if one.suffix.lower() in KINDS) or [path]
    if fault is None or not has_magic(pattern):
        return [path]
    return [Path(one) for one in sorted(glob(pattern, recursive=True))] or [path]  # noqa: PTH207 - Path.glob refuses absolute ones


def _open(file: ShardFile) -> Any:
    shard = open_shard(file.path, file.content.sha256)
    if len(shard) != file.content.samples:
        raise DataError(f"{file.path} was changed while the run was at work.", "Run the same command again.")
    return shard


def _sample(file: ShardFile, number: int, name: str) -> Sample:
    return _open(file).sample(number, name)
