"""Several methods on the same images and class, side by side."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from safetensors.numpy import save as safetensors_bytes

import xai.report as report
from xai.core import DataError, Explanation, Margin, Sample, UsageError
from xai.core.files import write_bytes, write_json
from xai.core.language import current_language, gettext
from xai.core.progress import counted
from xai.explanation.explainer import Explainer, logits_of, name_of
from xai.explanation.faces import FaceFinder
from xai.explanation.files import record_of, writing
from xai.explanation.inputs import BoxOf, Failure, Found, read_samples
from xai.explanation.table import Named, to_frame, write_csv
from xai.models import Classifier

if TYPE_CHECKING:
    import pandas as pd

    from xai.report.payload import Page

MOST_IMAGES = 50  # of one picture; all of them are held in memory


@dataclass(frozen=True)
class MethodComparison:
    """Maps of several methods.

    Args:
        label: The class explained, or the contrast.
        rows: Per image: method or preset, as it was asked for → explanation, every one present.
        failures: Images that at least one method could not explain.
        seed: Of methods that draw random numbers.
        target: Class index or contrast behind `label`.
        classifier: What was explained, for the page that a notebook shows.
        lang: Language of that page.
    """

    label: str
    rows: list[dict[str, Explanation]]
    failures: list[Failure]
    seed: int
    target: int | Margin
    classifier: Classifier = field(repr=False)
    lang: str = "en"
    make_page: ClassVar[Callable[["MethodComparison", str | None], "Page"]]

    def to_pandas(self) -> "pd.DataFrame":
        """A line for each image and method: answer, options, sums of the map.

        Raises:
            UsageError: pandas is not installed.
        """
        return to_frame(self._named())

    def to_csv(self, path: str | Path) -> Path:
        """Write the same as CSV; text that a spreadsheet would run gets an apostrophe before it.

        Returns:
            Where it is.

        Raises:
            OutputError: The file cannot be written.
        """
        return write_csv(self._named(), path)

    def page(self, title: str | None = None) -> "Page":
        """The interactive page's data; it takes the passes that test each map by removal.

        Raises:
            DataError: No image was explained by all methods.
        """
        if not self.rows:
            raise DataError("There is no explanation to show.", "failures says why.")
        return type(self).make_page(self, title)

    def _named(self) -> Iterator[Named]:
        return ((method, one, {}) for row in self.rows for method, one in row.items())

    def _repr_html_(self) -> str | None:
        """The comparison's page, in a notebook."""
        return report.page_frame(self.page()) if self.rows else None


def compare_methods(
    classifier: Classifier,
    methods: Mapping[str, Mapping[str, Any]],
    sources: Sequence[Found],
    target: str | int | None = None,
    *,
    box_of: BoxOf | None = None,
    faces: FaceFinder | None = None,
    batch_size: int = 8,
    seed: int = 0,
    progress: bool | None = None,
) -> MethodComparison:
    """What `xai.compare` does, of images that were gathered already.

    Args:
        classifier: What is explained.
        methods: Registry name or preset → options.
        sources: At most 50 images.
        target: One class or contrast; default the class predicted for the first image that can be read.
        box_of: Says which crop of an image to explain.
        faces: Cuts out the faces to explain.
        batch_size: Most images at once.
        seed: Of methods that draw random numbers.
        progress: Whether a bar is shown; None: on a terminal and in a notebook, to who has to wait.

    Raises:
        UsageError: An unknown method, option or class, or too many images.
        DataError: No image can be read.
    """
    _check_number(len(sources))
    if not methods:
        raise UsageError("There is no method to compare.", "xai methods lists those that there are.")
    if isinstance(target, Iterable) and not isinstance(target, str):
        raise UsageError(
            f"target={target!r:.80} is not understood.", "Methods are compared on one class or contrast."
        )
    settings: dict[str, Any] = {"batch_size": batch_size, "seed": seed}
    # made before any image is read: wrong names show at once
    explainers = {
        name: Explainer(classifier, name, target, **settings, **options) for name, options in methods.items()
    }
    found = read_samples(sources, None, box_of, faces=faces is not None)
    read = list(found if faces is None else faces(found))
    samples = [one for one in read if isinstance(one, Sample)]
    _check_number(len(samples))
    failures = {one.name: one for one in read if isinstance(one, Failure)}
    if not samples:
        raise DataError("\n".join(str(failure.error) for failure in failures.values()) or "No images.")
    if target is None:
        target = _predicted(next(iter(explainers.values())), samples[0])
        explainers = {
            name: Explainer(classifier, name, target, **settings, **options)
            for name, options in methods.items()
        }
    by_image: dict[str, dict[str, Explanation]] = {name_of(sample): {} for sample in samples}
    every = ((name, one) for name, explainer in explainers.items() for one in explainer.explain(samples))
    for name, result in counted(every, len(explainers) * len(samples), gettext("Explaining"), progress):
        if isinstance(result, Failure):
            failures[result.name] = result
        else:
            # nobody asks for layers here
            by_image[name_of(result.sample)][name] = replace(result, layers={})
    complete = [explanations for image, explanations in by_image.items() if image not in failures]
    ((label, wanted),) = next(iter(explainers.values())).targets.chosen
    return MethodComparison(
        label, complete, list(failures.values()), seed, wanted, classifier, current_language()
    )


def _check_number(images: int) -> None:
    if images > MOST_IMAGES:
        raise UsageError(
            f"{images} images are too many for one picture; at most {MOST_IMAGES}.",
            "Choose some, or use xai explain with one method at a time.",
        )


def write_comparison(comparison: MethodComparison, out: Path) -> dict[str, Any]:
    """Write `method_panel.png`, `.safetensors` (tensors `{stem}/{method}`) and `.json`, replacing older ones.

    Returns:
        What the JSON file holds.

    Raises:
        OutputError: A file cannot be written.
    """
    files = {kind: f"method_panel.{kind}" for kind in ("png", "safetensors", "json")}
    content = {
        "schema": "xai.comparison/1",
        "class": comparison.label,
        "images": [
            {method: record_of(explanation, comparison.seed) for method, explanation in explanations.items()}
            for explanations in comparison.rows
        ],
        "failures": [{"image": one.name, "error": str(one.error)} for one in comparison.failures],
        "files": files,
    }
    with writing(out):
        report.save(report.draw_methods(comparison.rows, comparison.label), out / files["png"])
        write_bytes(out / files["safetensors"], safetensors_bytes(dict(_maps(comparison))))
        write_json(out / files["json"], content)
    return content


def _maps(comparison: MethodComparison) -> Iterator[tuple[str, Any]]:
    for explanations in comparison.rows:
        for method, explanation in explanations.items():
            yield f"{explanation.sample.id}/{method}", explanation.maps[comparison.label]


def _predicted(explainer: Explainer, sample: Sample) -> str:
    pixels = explainer.prepare(sample).pixels[None].to(explainer.classifier.device)
    return explainer.classifier.labels[int(logits_of(explainer.classifier, pixels).argmax())]
