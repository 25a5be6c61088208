"""Whether metrics, operators or protocols put the methods in the same order."""

from collections.abc import Sequence
from math import isfinite

from xai.core.language import gettext
from xai.report.figures.description import MatrixCell, MatrixChart, named_rows
from xai.stats import Agreement


def agreement_chart(
    agreement: Agreement, title: str, *, subheading: str = "", notes: Sequence[str] = ()
) -> MatrixChart:
    """Kendall's tau-b between all pairs of rankings.

    Args:
        agreement: From `metric_agreement` or `rank_stability`.
        title: Stands above.
        subheading: Stands under the title.
        notes: Stand below.
    """
    rows = tuple(named_rows(agreement.names).values())
    cells = [
        _cell(agreement, i, j, (rows[i].label, rows[j].label))
        for i in range(len(rows))
        for j in range(len(rows))
    ]
    return MatrixChart(
        title=title,
        subheading=subheading
        or gettext("Kendall's tau-b between rankings of {n} methods.", n=_methods(agreement)),
        alt=gettext(
            "{title}: Kendall's tau between rankings; 1 the same order, 0 unrelated, −1 reversed.",
            title=title,
        ),
        notes=(
            gettext(
                "Every metric is turned so that better comes first. –: fewer than two methods, or all equal."
            ),
            *notes,
        ),
        rows=rows,
        columns=tuple((row.label, "") for row in rows),
        cells=tuple(cells),
        scale=gettext("−1: reversed order · 0: unrelated · 1: the same order"),
    )


def _cell(agreement: Agreement, row: int, column: int, names: tuple[str, str]) -> MatrixCell:
    """A ranking beside itself has a neutral cell with nothing in it."""
    tau, itself = agreement.tau[row][column], row == column
    known = isfinite(tau)
    number = f"{tau:.2f}".replace("-", "−") if known else "–"
    return MatrixCell(
        row=row,
        column=column,
        value=tau if known else None,
        text="" if itself and known else number,
        fill=tau if known and not itself else None,
        details=(
            (gettext("ranking"), names[0]),
            (gettext("compared with"), names[1]),
            (gettext("tau"), number),
            (gettext("methods compared"), str(agreement.methods[row][column])),
        ),
    )


def _methods(agreement: Agreement) -> str:
    counts = {
        n for i, row in enumerate(agreement.methods) for j, n in enumerate(row) if i < j or len(row) == 1
    }
    if not counts:
        return gettext("no")
    least, most = min(counts), max(counts)
    return str(least) if least == most else gettext("{least} to {most}", least=least, most=most)
