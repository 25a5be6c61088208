"""A summary as Markdown: verdicts in words first, then the tables they rest on."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from xai.bench.data.files import Folder, folder_of, write_bytes
from xai.core.language import gettext, joined, language, ngettext, pgettext
from xai.metrics import METRICS
from xai.stats import Agreement, MethodSummary, MetricResult, Summary, mask_warning, short
from xai.stats.words import notes_of

SHOWN = 10  # excluded images per reason


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
    done, total = summary.units
    images = ngettext("{n} image", "{n} images", summary.images)
    methods = gettext("{n} methods and controls", n=len(summary.methods))
    counts = gettext("{images}, {methods}.", images=images, methods=methods)
    unfinished = gettext("**Unfinished: {done} of {total} items.**", done=done, total=total)
    return [
        f"# {summary.name}",
        joined([counts, "" if done == total else unfinished]),
        *[gettext("**Warning:** {warning}", warning=mask_warning(one)) for one in summary.mask_warnings],
        _heading(gettext("Verdicts")),
        *_verdicts(summary),
        _heading(gettext("Rankings")),
        *_rankings(summary),
        *_kinds(summary),
        _heading(gettext("Controls and agreement")),
        *_agreements(summary),
        _heading(gettext("Cost")),
        _cost(summary),
        _heading(gettext("Provenance")),
        *_provenance(summary),
        _heading(gettext("Exclusions")),
        *_exclusions(summary),
    ]


def _heading(text: str) -> str:
    return f"## {text}"


def _verdicts(summary: Summary) -> Iterator[str]:
    """A table per protocol: what each metric says of each method."""
    for protocol in dict.fromkeys(part.protocol for part in summary.parts):
        parts = [p for p in summary.parts if p.protocol == protocol and p.analysis.reference is not None]
        if not parts:
            continue
        said = [{one.name: one for one in part.analysis.methods} for part in parts]
        names = {name: one for part in said for name, one in part.items()}
        rows = [
            [
                _named(one),
                *[short(part[name].verdict) if name in part else gettext("no score") for part in said],
            ]
            for name, one in names.items()
            if name not in {part.analysis.reference for part in parts}
        ]
        if len({cell for row in rows for cell in row[1:]}) == 1 < len(rows):
            yield gettext(
                "Under **{protocol}**, every method by {metrics} beside random maps: {verdict}.",
                protocol=protocol,
                metrics=gettext(", ").join(part.metric for part in parts),
                verdict=rows[0][1],
            )
            continue
        yield gettext(
            "Compared with random maps under **{protocol}**, p by Holm over the methods:", protocol=protocol
        )
        yield _table([gettext("method"), *[f"{part.metric} ({_direction(part)})" for part in parts]], rows)
    found = [note for part in summary.parts for note in notes_of(part.analysis)]
    yield "\n".join(f"- {note}" for note in dict.fromkeys(found))


def _rankings(summary: Summary) -> Iterator[str]:
    for part in summary.parts:
        analysis, greedy = part.analysis, part.greedy
        percent = f"{100 * (1 - analysis.alpha):g} %"
        yield f"### {part.metric}, {part.protocol}"
        yield _about(part)
        header = [gettext("method"), gettext("mean"), percent, gettext("mean rank"), gettext("P(best)")]
        header += [gettext("better than random on"), gettext("p (Holm)"), gettext("ties")]
        header += [pgettext("images", "saturated")]
        if greedy:
            header.append(ngettext("mean on {n} image", "mean on {n} images", greedy.images))
        rows = [_ranking_row(part, one) for one in analysis.ranked]
        if greedy:
            row = [
                f"*{gettext('greedy order (strong reference)')}*",
                *[""] * (len(header) - 2),
                _number(greedy.mean),
            ]
            rows.append(row)
        yield _table(header, rows)
        yield joined(_remarks(part))
        for label, stratum in part.strata.items():
            means = gettext(", ").join(f"{one.name} {_number(one.mean)}" for one in stratum.ranked)
            if means:
                images = ngettext("{n} image", "{n} images", stratum.images)
                yield gettext("Only {label} ({images}): {means}.", label=label, images=images, means=means)


def _about(part: MetricResult) -> str:
    analysis = part.analysis
    images = ngettext("{n} image", "{n} images", analysis.images)
    if analysis.unit == "group":
        groups = ngettext("{n} group", "{n} groups", analysis.blocks)
        images = gettext("{images} in {groups}", images=images, groups=groups)
    return joined(
        [
            gettext("{direction}.", direction=_direction(part).capitalize()),
            gettext(METRICS[part.metric].summary),
            gettext("Protocol hash `{hash}`, {images}.", hash=part.protocol_hash, images=images),
        ]
    )


def _remarks(part: MetricResult) -> Iterator[str]:
    analysis = part.analysis
    if analysis.friedman:
        yield gettext(
            "Friedman p={p}, Kendall's W={w}.",
            p=f"{analysis.friedman.p:.2g}",
            w=f"{analysis.friedman.kendall_w:.2f}",
        )
    if analysis.critical_difference:
        yield gettext(
            "Critical difference of mean ranks (Nemenyi): {difference}.",
            difference=f"{analysis.critical_difference:.2f}",
        )
    yield _apart(part)
    if part.split_half.splits:
        yield gettext(
            "Kendall τ between random halves of the images: {tau}.", tau=f"{part.split_half.mean:.2f}"
        )
    if part.saturated_images:
        yield ngettext(
            "{n} image saturated for every method ranks nothing.",
            "{n} images saturated for every method rank nothing.",
            part.saturated_images,
        )


def _kinds(summary: Summary) -> Iterator[str]:
    """A table per part: how the leading methods and the controls do on each kind of manipulation."""
    parts = [part for part in summary.parts if any(one.methods for one in part.kinds.values())]
    if parts:
        percent = f"{100 * (1 - parts[0].analysis.alpha):g} %"
        yield _heading(gettext("By kind of manipulation"))
        yield gettext(
            "Mean and {level} interval over the images of one kind alone: the controls, and the methods that "
            "lead over all images.",
            level=percent,
        )
    for part in parts:
        kinds = {kind: one for kind, one in part.kinds.items() if one.methods}
        found = [{method.name: method for method in one.methods} for one in kinds.values()]
        title = gettext("{metric} by kind, {protocol}", metric=part.metric, protocol=part.protocol)
        yield f"### {title}"
        counts = [ngettext("{n} image", "{n} images", one.images) for one in kinds.values()]
        yield _table(
            [gettext("method"), *[f"{kind} ({count})" for kind, count in zip(kinds, counts, strict=True)]],
            [
                [_named(one), *[_with_interval(kind.get(one.name)) for kind in found]]
                for one in part.analysis.leading
            ],
        )


def _with_interval(one: MethodSummary | None) -> str:
    if one is None:
        return ""
    if not math.isfinite(one.low):
        return _number(one.mean)
    return f"{_number(one.mean)} ({_number(one.low)} … {_number(one.high)})"


def _ranking_row(part: MetricResult, one: MethodSummary) -> list[str]:
    cells = [
        _named(one),
        _number(one.mean),
        f"{_number(one.low)} … {_number(one.high)}",
        f"{one.mean_rank:.2f}",
        f"{one.p_best:.2f}",
        "" if one.superiority is None else f"{100 * one.superiority:.0f} %",
        "" if one.p_reference is None else f"{one.p_reference:.2g}",
        _percent(part.ties.get(one.name, math.nan)),
        str(part.saturated.get(one.name, 0) or ""),
    ]
    return cells + ([_number(part.greedy.methods.get(one.name, math.nan))] if part.greedy else [])


def _apart(part: MetricResult) -> str:
    pairs = [p for p in part.analysis.pairs if part.analysis.reference not in (p.first, p.second)]
    apart = sum(pair.distinguishable for pair in pairs)
    if not pairs:
        return ""
    return ngettext(
        "{apart} of {n} pair of methods can be told apart (Wilcoxon, Holm).",
        "{apart} of {n} pairs of methods can be told apart (Wilcoxon, Holm).",
        len(pairs),
        apart=apart,
    )


def _agreements(summary: Summary) -> Iterator[str]:
    if summary.answers:
        rows = [
            [
                name,
                _number(one.clean),
                _number(one.baseline),
                "" if one.kept is None else gettext("{n} of {total}", n=one.kept, total=one.images),
            ]
            for name, one in summary.answers.items()
        ]
        yield gettext("The model's value of the followed class, with all evidence and with none:")
        header = [gettext("protocol"), "f(x)", "f(baseline)", gettext("class kept with nothing left")]
        yield _table(header, rows)
    for metric, agreement in summary.stability.items():
        yield gettext(
            "Kendall τ of the methods' rankings by **{metric}** between protocols (controls left out):",
            metric=metric,
        )
        yield _matrix(agreement)
    for protocol, agreement in summary.agreement.items():
        yield gettext(
            "Kendall τ of the methods' rankings between metrics under **{protocol}** (controls left out):",
            protocol=protocol,
        )
        yield _matrix(agreement)


def _cost(summary: Summary) -> str:
    rows = [
        [
            name,
            f"{1000 * one.seconds:.3g}" if math.isfinite(one.seconds) else "",
            f"{one.forwards}+{one.backwards}",
            f"{one.peak_bytes / 2**20:.0f}" if one.peak_bytes else "",
        ]
        for name, one in summary.cost.items()
    ]
    header = [gettext("method"), gettext("ms per image (median)")]
    header += [gettext("passes at defaults (forward+backward)"), gettext("peak MiB")]
    return _table(header, rows)


def _provenance(summary: Summary) -> Iterator[str]:
    about = summary.provenance
    model = about.get("model", {})
    versions = ", ".join(f"{name} {number}" for name, number in about.get("versions", {}).items())
    facts = [
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
    yield "\n".join(f"- {one}" for one in facts)
    rows = [[str(one["name"]), f"`{one['hash']}`", str(one["reference"])] for one in summary.protocols]
    yield _table([gettext("protocol"), gettext("hash"), gettext("source")], rows)


def _exclusions(summary: Summary) -> Iterator[str]:
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
        which = gettext(", ").join(names[:SHOWN])
        if count > SHOWN:
            which = gettext("{names} and {n} more", names=which, n=count - SHOWN)
        rows.append([str(count), method, protocol, reason, which])
    header = [gettext("images"), gettext("method"), gettext("protocol"), gettext("reason"), gettext("which")]
    yield _table(header, rows)


def _matrix(agreement: Agreement) -> str:
    rows = [
        [name, *[_number(value) for value in line]]
        for name, line in zip(agreement.names, agreement.tau, strict=True)
    ]
    return _table(["", *agreement.names], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _named(one: MethodSummary) -> str:
    return gettext("{name} (control)", name=f"*{one.name}*") if one.control else one.name


def _direction(part: MetricResult) -> str:
    return gettext("higher is better") if part.higher_is_better else gettext("lower is better")


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if math.isfinite(value) else ""
