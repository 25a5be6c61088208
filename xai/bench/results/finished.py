"""`xai.benchmark`: a benchmark from Python, and what its run says."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai.bench.config.reading import read_benchmark
from xai.bench.config.schema import BenchmarkConfig
from xai.bench.data.files import Folder, folder_of
from xai.bench.results.page import SAMPLED, page_of_run
from xai.bench.results.summary import summarise
from xai.bench.run.engines import RayOptions
from xai.bench.run.runner import Progress, RunResult, run_benchmark
from xai.bench.run.store import read_records
from xai.core import UsageError
from xai.core.files import RESULTS
from xai.core.language import current_language, language
from xai.core.progress import progress as bar
from xai.models import Classifier, load
from xai.stats import Summary

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from xai.report.payload import Page


@dataclass(frozen=True)
class FinishedBenchmark:
    """A benchmark's run: what it found, as values, a table or a page.

    Args:
        folder: Of the run; the command line reads it too.
        result: What this call did.
        lang: Language of the page.
    """

    folder: Folder
    result: RunResult = field(repr=False)
    lang: str = "en"

    @cached_property
    def _summary(self) -> Summary:
        return summarise(self.folder)

    def summary(self) -> Summary:
        """Rankings with intervals and verdicts, one part for each metric under each protocol."""
        return self._summary

    def to_pandas(self) -> "pd.DataFrame":
        """Every record: one row per image, method, metric and protocol, with score, cost and curve."""
        return read_records(self.folder)

    def page(self, images: int | None = SAMPLED) -> "Page":
        """The interactive page's data, see `xai.bench.page_of_run`."""
        with language(self.lang):
            return page_of_run(self._local(), images=images)

    def write_page(self, path: str | Path | None = None, images: int | None = SAMPLED) -> Path:
        """Write the interactive page, one HTML file that loads nothing.

        Args:
            path: Of the file; default `report.html` in the run's folder.
            images: How many images it shows, drawn at random; None for all.

        Returns:
            Where it is.
        """
        import xai.report as report

        path = self._local() / "report.html" if path is None else Path(path)
        report.write_page(self.page(images), path)
        return path

    def _local(self) -> Path:
        if not isinstance(self.folder, Path):
            raise UsageError(
                f"A page is made of a run on this machine; {self.folder} is none.", "Copy it first."
            )
        return self.folder

    def _repr_html_(self) -> str:
        import xai.report as report

        return report.page_frame(self.page())


def benchmark(
    config: BenchmarkConfig | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    model: "str | nn.Module | None" = None,
    progress: Callable[[Progress], None] | bool | None = None,
    engine: str = "local",
    ray: RayOptions | None = None,
    trust_code: bool = False,
    lang: str | None = None,
) -> FinishedBenchmark:
    """Run a benchmark, or go on with one that was stopped.

    Args:
        config: A YAML file, or what it would hold, as a mapping; its paths are taken from the working folder.
        out: Folder of the run, a path or a URL; default `attention_results/NAME`, as on the command line.
        model: What `xai.load` takes alone; default what the configuration names.
        progress: Called before the first work item and after each; or whether a bar is shown; None: on a
            terminal and in a notebook, to who has to wait.
        engine: "local", or "ray".
        ray: Of the engine ray.
        trust_code: Whether code that the configuration names may be imported.
        lang: Language of the page; None: the current one.

    Raises:
        ConfigError: A wrong configuration, or one that differs from that of the run in the folder.
        UsageError: A package of the extra `bench` is missing, or another process writes the folder.
        DataError: No usable image, or the disk objects; what is finished is intact.
        ModelError: The model cannot be loaded or explained.
    """
    with language(lang):
        if not isinstance(config, BenchmarkConfig):
            config = read_benchmark(config, trust_code=trust_code)
        folder = folder_of(str(RESULTS / config.name if out is None else out))
        classifier: Classifier | None = None if model is None else load(model)
        with _told(config.name, progress) as tell:
            result = run_benchmark(
                *(config, folder),
                classifier=classifier,
                progress=tell,
                engine=engine,
                ray=ray,
                trust_code=trust_code,
            )
        return FinishedBenchmark(folder, result, current_language())


@contextmanager
def _told(
    name: str, progress: Callable[[Progress], None] | bool | None
) -> Iterator[Callable[[Progress], None]]:
    """Whom a run tells how far it is: the caller, or a bar of the work items that are left."""
    if callable(progress):
        yield progress
        return
    with ExitStack() as opened:
        step: Callable[..., object] | None = None
        done = 0

        def tell(state: Progress) -> None:
            nonlocal step, done
            if step is None:
                step = opened.enter_context(bar(state.total - state.done, name, progress))
            else:
                step(state.done - done)
            done = state.done

        yield tell
