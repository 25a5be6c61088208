"""A summary as Markdown: the tables of its page, verdicts first."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from xai.bench.config.lookup import metric_facts
from xai.bench.data.files import Folder, folder_of, write_bytes
from xai.core.language import gettext, joined, language, ngettext, pgettext
from xai.stats import Summary, mask_warning

if TYPE_CHECKING:
    from xai.report.findings import ProtocolSection
    from xai.report.rankings import MetricSection

MOST_LISTED = 10  # excluded images per reason


def write_summary(summary: Summary, path: str | Folder, lang: str | None = None) -> None:
    """Write the summary as a Markdown file, in a language or in the current one."""
    write_bytes(folder_of(path), to_markdown(summary, lang).encode())


def to_markdown(summary: Summary, lang: str | None = None) -> str:
    """The whole summary, in a language or in the current one.

    Raises:
        UsageError: There is no such language.
    """
    with language(lang):
        return "\n\n".join(block for block in _blocks(summary) if block) + "\n"


def _blocks(summary: Summary) -> list[str]:
    from xai.report.findings import findings_of_summary
    from xai.report.sentences import notes
    from xai.report.tables import markdown_table  # a run need not wait for what draws

    done, total = summary.units
    images = ngettext("{n} image", "{n} images", summary.images)
    methods = gettext("{n} methods and controls", n=len(summary.methods))
    counts = gettext("{images}, {methods}.", images=images, methods=methods)
    unfinished = gettext("**Unfinished: {done} of {total} items.**", done=done, total=total)
    findings = findings_of_summary(summary, summary.images)
    sections = sorted(
        (one for protocol in findings.protocols for one in protocol.rankings), key=lambda one: one.place
    )
    kinds = [block for one in sections for block in _kinds(one)]
    agreement = [findings.outputs, *[one.table for one in (*findings.stability, *findings.agreement)]]
    return [
        f"# {summary.name}",
        joined([counts, "" if done == total else unfinished]),
        *[gettext("**Warning:** {warning}", warning=mask_warning(one)) for one in summary.mask_warnings],
        _heading(gettext("Verdicts")),
        *[_verdicts(one) for one in findings.protocols],
        "\n".join(f"- {note}" for note in notes(summary.parts)),
        _heading(gettext("Rankings")),
        *[block for one in sections for block in _ranking(one)],
        *([_heading(gettext("By kind of manipulation"))] if kinds else []),
        *kinds,
        _heading(gettext("Controls and agreement")),
        *[markdown_table(one) for one in (*agreement, findings.halves) if one],
        _heading(gettext("Cost")),
        markdown_table(findings.cost),
        _heading(gettext("Provenance")),
        *_provenance(summary),
        _heading(gettext("Exclusions")),
        *_exclusions(summary),
    ]


def _heading(text: str) -> str:
    return f"## {text}"


def _verdicts(protocol: "ProtocolSection") -> str:
    """What each metric says of each method, in a sentence where it is the same of all."""
    from xai.report.tables import markdown_table

    if protocol.table is None:
        return ""
    table = protocol.table
    verdicts = {cell.value for line in table.lines for cell in line.cells[1:]}
    if len(verdicts) == 1 < len(table.lines):
        return gettext(
            "Under **{protocol}**, every method by {metrics} beside random maps: {verdict}.",
            protocol=protocol.name,
            metrics=gettext(", ").join(column.title for column in table.columns[1:]),
            verdict=verdicts.pop(),
        )
    heads = [replace(column, title=f"{column.title} ({column.note})") for column in table.columns[1:]]
    return markdown_table(replace(table, columns=(table.columns[0], *heads)))


def _kinds(section: "MetricSection") -> Iterator[str]:
    from xai.report.tables import markdown_table

    if section.kinds:
        names = {"metric": section.metric, "protocol": section.protocol}
        yield f"### {gettext('{metric} by kind, {protocol}', **names)}"
        yield markdown_table(section.kinds)


def _ranking(section: "MetricSection") -> Iterator[str]:
    from xai.report.tables import markdown_table

    yield f"### {section.metric}, {section.protocol}"
    yield joined([gettext(metric_facts(section.metric).summary), section.about])
    yield markdown_table(section.table)
    yield joined(section.remarks)
    if section.strata:
        yield markdown_table(section.strata)


def _provenance(summary: Summary) -> Iterator[str]:
    from xai.report.tables import markdown_table, table

    about = summary.provenance
    model = about.get("model", {})
    versions = ", ".join(f"{name} {number}" for name, number in about.get("versions", {}).items())
    entries = [
        gettext(
            "model: {name}, fingerprint `{fingerprint}`, {dtype}, autocast {autocast}",
            name=model.get("name"),
            fingerprint=str(model.get("fingerprint"))[:16],
            dtype=about.get("dtype"),
            autocast=about.get("autocast") or pgettext("autocast", "off"),
        ),
        gettext(
            "device: {device}, {threads} threads, {platform}",
            device=about.get("device"),
            threads=about.get("threads"),
            platform=about.get("platform"),
        ),
        gettext("image processing: {processor}", processor=about.get("processor")),
        gettext("seed {seed}, batch size {size}", seed=about.get("seed"), size=about.get("batch_size")),
        gettext(
            "last session: {start} to {end}",
            start=about.get("start"),
            end=about.get("end") or gettext("not ended"),
        ),
        versions,
    ]
    if chosen := about.get("precision"):
        entries.insert(1, gettext("precision: {precision}, since {reason}", **chosen))
    yield "\n".join(f"- {one}" for one in entries)
    rows = [[str(one["name"]), f"`{one['hash']}`", str(one["reference"])] for one in summary.protocols]
    header = [gettext("protocol"), gettext("hash"), gettext("source")]
    yield markdown_table(table(gettext("Protocols"), header, rows))


def _exclusions(summary: Summary) -> Iterator[str]:
    from xai.report.tables import markdown_table, table

    if not summary.exclusions:
        yield pgettext("exclusions", "None.")
        return
    counts = Counter((one.method, one.protocol, one.reason) for one in summary.exclusions)
    rows = []
    for (method, protocol, reason), count in counts.most_common():
        names = [
            one.image
            for one in summary.exclusions
            if (one.method, one.protocol, one.reason) == (method, protocol, reason)
        ]
        which = gettext(", ").join(names[:MOST_LISTED])
        if count > MOST_LISTED:
            which = gettext("{names} and {n} more", names=which, n=count - MOST_LISTED)
        rows.append([str(count), method, protocol, reason, which])
    header = [gettext("images"), gettext("method"), gettext("protocol"), gettext("reason"), gettext("which")]
    yield markdown_table(table(gettext("What is missing, and why"), header, rows))
