"""`xai.report(...)`: results as one page to read and send on."""

from collections.abc import Sequence
from pathlib import Path

from xai.bench import FinishedBenchmark, page_of_run
from xai.core import Explanation, UsageError
from xai.core.files import RESULTS
from xai.explanation.comparison import MethodComparison
from xai.explanation.explanations import Explanations
from xai.report import write_page

EXPLAINED = RESULTS / "index.html"


def report(
    results: Explanation | Sequence[Explanation] | MethodComparison | FinishedBenchmark | str | Path,
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Path:
    """Write results as one interactive HTML page, which opens from disk and loads nothing.

    Args:
        results: What `xai.explain`, `xai.compare` or `xai.benchmark` returned, or the folder of a benchmark's
            run, finished or not.
        path: Of the file; default `report.html` in a run's folder, else `attention_results/index.html`, as on
            the command line.
        title: Heading, of explanations and comparisons.

    Returns:
        Where it is.

    Raises:
        UsageError: Nothing of this, or explanations of several methods or models.
        DataError: There is no result.
        OutputError: The file cannot be written.

    Examples:
        >>> import tempfile, xai
        >>> from xai.data import shipped_samples
        >>> explanations = xai.explain(shipped_samples()[0].path, method="saliency")
        >>> xai.report(explanations, f"{tempfile.mkdtemp()}/cat.html").name
        'cat.html'
    """
    if isinstance(results, str | Path | FinishedBenchmark) and title is not None:
        raise UsageError("A benchmark's page has the benchmark's name as its heading.", "Leave out title.")
    if isinstance(results, FinishedBenchmark):
        return results.write_page(path)
    if isinstance(results, str | Path):
        page, default = page_of_run(results), Path(results) / "report.html"
    else:
        page, default = _explained(results).page(title), EXPLAINED
    path = default if path is None else Path(path)
    write_page(page, path)
    return path


def _explained(results: object) -> Explanations | MethodComparison:
    if isinstance(results, Explanations | MethodComparison):
        return results
    several = [results] if isinstance(results, Explanation) else results
    if isinstance(several, list | tuple) and all(isinstance(one, Explanation) for one in several):
        return Explanations(several)
    raise UsageError(
        f"No page can be made of {type(results).__name__}.",
        "Give what xai.explain, xai.compare or xai.benchmark returned, or a run's folder.",
    )
