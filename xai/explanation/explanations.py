"""What `xai.explain` returns: a list of explanations that is also a table and a page."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai.core import Explanation
from xai.core.language import language
from xai.explanation.explainer import Explainer
from xai.explanation.table import Named, to_frame, write_csv

if TYPE_CHECKING:
    import pandas as pd

    from xai.report.image_payload import FaceEvidence
    from xai.report.payload import Page

SHOWN = 20  # images in a notebook


class Explanations(list[Explanation]):
    """A list of explanations, and what can be made of all of them. Slices of it are plain lists.

    Args:
        explanations: Of one method and model.
        explainer: Made them; a page asks it what happens without the strongest patches. It does not travel
            in a pickle.
        files: Sample id → the files written of it, as its record names them.
        evidence: Sample id → evidence by parts of the face.
    """

    def __init__(
        self,
        explanations: Iterable[Explanation] = (),
        explainer: Explainer | None = None,
        files: Mapping[str, Mapping[str, str]] | None = None,
        evidence: "Mapping[str, FaceEvidence] | None" = None,
    ):
        super().__init__(explanations)
        self.explainer = explainer
        self.files = {} if files is None else files
        self.evidence = {} if evidence is None else evidence

    def to_pandas(self) -> "pd.DataFrame":
        """A line for each image and class: answer, method, options, sums of the map, files.

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

    def page(self, title: str | None = None, *, stability: bool = False) -> "Page":
        """The interactive page's data, as of `xai explain --report`.

        Each map is tested by removing its strongest patches, which takes passes of the model; a list that was
        unpickled has no model, and its page no such test.

        Args:
            title: Heading; default method and model.
            stability: Whether each image is explained again after ten degradations.

        Raises:
            DataError: There is no explanation.
            ModelError: The model cannot answer any more.
        """
        from xai.explanation.page import PageBuilder  # what makes pages loads when one is asked for
        from xai.report.frames import plain_page

        if not self or self.explainer is None:
            return plain_page(self, title)
        with language(self[0].lang):
            builder = PageBuilder(self.explainer, len(self), stability)
            for one in self:
                builder.add(one, self.evidence.get(one.sample.id))
            return builder.page(title)

    def _named(self) -> Iterator[Named]:
        return ((one.method, one, self.files.get(one.sample.id, {})) for one in self)

    def _repr_html_(self) -> str | None:
        """The first images on a page, in a notebook; takes no pass of the model."""
        from xai.report.frames import page_frame, plain_page

        return page_frame(plain_page(self[:SHOWN], asked=len(self))) if self else None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"explainer": None}
