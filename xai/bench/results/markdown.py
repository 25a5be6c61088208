"""A summary as Markdown: verdicts in words first, then the tables they rest on."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from xai.bench.data.files import Folder, folder_of, write_bytes
from xai.metrics import METRICS
from xai.stats import Agreement, MethodSummary, MetricResult, Summary, mask_warning, short
from xai.stats.words import notes_of

SHOWN = 10  # excluded images per reason


def write_summary(summary: Summary, path: str | Folder) -> None:
    """Write the summary as a Markdown file."""
    write_bytes(folder_of(path), to_markdown(summary).encode())


def to_markdown(summary: Summary) -> str:
    """The whole summary."""
    done, total = summary.units
    part = "" if done == total else f" **Unfinished: {done} of {total} units.**"
    blocks = [
        f"# {summary.name}",
        f"{summary.images} images, {len(summary.methods)} rows.{part}",
        *[f"**Warning:** {mask_warning(one)}" for one in summary.mask_warnings],
        "## Verdicts",
        *_verdicts(summary),
        "## Rankings",
        *_rankings(summary),
        *_kinds(summary),
        "## Controls and agreement",
        *_agreements(summary),
        "## Cost",
        _cost(summary),
        "## Provenance",
        *_provenance(summary),
        "## Exclusions",
        *_exclusions(summary),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _verdicts(summary: Summary) -> Iterator[str]:
    """A table per protocol: what each metric says of each row."""
    for protocol in dict.fromkeys(part.protocol for part in summary.parts):
        parts = [p for p in summary.parts if p.protocol == protocol and p.analysis.reference is not None]
        if not parts:
            continue
        said = [{one.name: one for one in part.analysis.methods} for part in parts]
        names = {name: one for part in said for name, one in part.items()}
        rows = [
            [_named(one), *[short(part[name].verdict) if name in part else "no score" for part in said]]
            for name, one in names.items()
            if name not in {part.analysis.reference for part in parts}
        ]
        if len({cell for row in rows for cell in row[1:]}) == 1 < len(rows):
            metrics = ", ".join(part.metric for part in parts)
            yield f"Under **{protocol}**, every row by {metrics} beside random maps: {rows[0][1]}."
            continue
        yield f"Compared with random maps under **{protocol}**, p by Holm over the rows:"
        yield _table(["row", *[f"{part.metric} ({_direction(part)})" for part in parts]], rows)
    found = [note for part in summary.parts for note in notes_of(part.analysis)]
    yield "\n".join(f"- {note}" for note in dict.fromkeys(found))


def _rankings(summary: Summary) -> Iterator[str]:
    for part in summary.parts:
        analysis, greedy = part.analysis, part.greedy
        percent = f"{100 * (1 - analysis.alpha):g} %"
        yield f"### {part.metric}, {part.protocol}"
        yield (
            f"{_direction(part).capitalize()}. {METRICS[part.metric].summary} "
            f"Protocol hash `{part.protocol_hash}`, "
            f"{_count(analysis.images, 'image')}"
            + ("" if analysis.unit == "image" else f" in {_count(analysis.blocks, 'group')}")
            + "."
        )
        header = ["row", "mean", percent, "mean rank", "P(best)", "better than random on", "p (Holm)"]
        header += ["ties", "saturated"] + ([f"mean on {_count(greedy.images, 'image')}"] if greedy else [])
        rows = [_ranking_row(part, one) for one in analysis.ranked]
        if greedy:
            row = ["*greedy order (strong reference)*", *[""] * (len(header) - 2), _number(greedy.mean)]
            rows.append(row)
        yield _table(header, rows)
        said = []
        if analysis.friedman:
            said.append(
                f"Friedman p={analysis.friedman.p:.2g}, Kendall's W={analysis.friedman.kendall_w:.2f}."
            )
        if analysis.critical_difference:
            said.append(f"Critical difference of mean ranks (Nemenyi): {analysis.critical_difference:.2f}.")
        said.append(_apart(part))
        if part.split_half.splits:
            said.append(f"Kendall τ between random halves of the images: {part.split_half.mean:.2f}.")
        if part.saturated_images:
            said.append(f"{part.saturated_images} images are saturated for every row and rank nothing.")
        yield " ".join(said)
        for label, stratum in part.strata.items():
            means = ", ".join(f"{one.name} {_number(one.mean)}" for one in stratum.ranked)
            if means:
                yield f"Only {label} ({_count(stratum.images, 'image')}): {means}."


def _kinds(summary: Summary) -> Iterator[str]:
    """A table per part: how the leading methods and the controls do on each kind of manipulation."""
    parts = [part for part in summary.parts if any(one.methods for one in part.kinds.values())]
    if parts:
        percent = f"{100 * (1 - parts[0].analysis.alpha):g} %"
        yield "## By kind of manipulation"
        yield (
            f"Mean and {percent} interval over the images of one kind alone: the controls, and the methods "
            "that lead over all images."
        )
    for part in parts:
        kinds = {kind: one for kind, one in part.kinds.items() if one.methods}
        found = [{method.name: method for method in one.methods} for one in kinds.values()]
        yield f"### {part.metric} by kind, {part.protocol}"
        yield _table(
            ["row", *[f"{kind} ({_count(one.images, 'image')})" for kind, one in kinds.items()]],
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
    return f"{apart} of {len(pairs)} pairs of rows can be told apart (Wilcoxon, Holm)." if pairs else ""


def _agreements(summary: Summary) -> Iterator[str]:
    if summary.answers:
        rows = [
            [
                name,
                _number(one.clean),
                _number(one.baseline),
                "" if one.kept is None else f"{one.kept} of {one.images}",
            ]
            for name, one in summary.answers.items()
        ]
        yield "The model's value of the followed class, with all evidence and with none:"
        yield _table(["protocol", "f(x)", "f(baseline)", "class kept with nothing left"], rows)
    for metric, agreement in summary.stability.items():
        yield f"Kendall τ of the methods' rankings by **{metric}** between protocols (controls left out):"
        yield _matrix(agreement)
    for protocol, agreement in summary.agreement.items():
        yield f"Kendall τ of the methods' rankings between metrics under **{protocol}** (controls left out):"
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
    header = ["row", "ms per image (median)", "passes at defaults (forward+backward)", "peak MiB"]
    return _table(header, rows)


def _provenance(summary: Summary) -> Iterator[str]:
    about = summary.provenance
    model = about.get("model", {})
    versions = ", ".join(f"{name} {number}" for name, number in about.get("versions", {}).items())
    end = about.get("end")
    lines = [
        f"- model: {model.get('name')}, fingerprint `{str(model.get('fingerprint'))[:16]}`, "
        f"{about.get('dtype')}, autocast {about.get('autocast') or 'off'}",
        f"- device: {about.get('device')}, {about.get('threads')} threads, {about.get('platform')}",
        f"- image processing: {about.get('processor')}",
        f"- seed {about.get('seed')}, batch size {about.get('batch_size')}",
        f"- last session: {about.get('start')} to {end or 'not ended'}",
        f"- {versions}",
    ]
    yield "\n".join(lines)
    rows = [[str(one["name"]), f"`{one['hash']}`", str(one["reference"])] for one in summary.protocols]
    yield _table(["protocol", "hash", "source"], rows)


def _exclusions(summary: Summary) -> Iterator[str]:
    if not summary.exclusions:
        yield "None."
        return
    counts = Counter((one.method, one.protocol, one.reason) for one in summary.exclusions)
    rows = []
    for (method, protocol, reason), count in counts.most_common():
        names = [
            one.image
            for one in summary.exclusions
            if (one.method, one.protocol, one.reason) == (method, protocol, reason)
        ]
        more = f" and {count - SHOWN} more" if count > SHOWN else ""
        rows.append([str(count), method, protocol, reason, ", ".join(names[:SHOWN]) + more])
    yield _table(["images", "row", "protocol", "reason", "which"], rows)


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
    return f"*{one.name}* (control)" if one.control else one.name


def _direction(part: MetricResult) -> str:
    return "higher is better" if part.higher_is_better else "lower is better"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if math.isfinite(value) else ""
