"""The pages: rows as tables, what they say about the targets, and where we lose. Works on results alone."""

from collections.abc import Sequence

LAST4 = "gradient-weighted attention, last 4 layers"
FULL = ("gradient-weighted attention, all layers", "LeGrad, all layers", "Chefer generic", "rollout")
PAIR = "deletion + insertion"
SYSTEMS = "ROAD, the linear systems"
SAME = 1e-3
"""Of the largest value; in lower precision than float32 the model's own rounding is larger: `ROUGH`."""
ROUGH = 5e-2
HEAD = (
    "task",
    "peer",
    "ours, × {unit}",
    "peer, × {unit}",
    "peer ÷ ours",
    "ours, s",
    "peer, s",
    "ours, MB",
    "peer, MB",
    "agreement",
    "remarks",
)


def means_nothing(header: dict) -> bool:
    """Whether the figures come from a run that only shows that the program works."""
    return "quick mode" in header


def page(title: str, text: str, header: dict, body: Sequence[str]) -> str:
    said = ", ".join(f"{key} {value}" for key, value in header.items())
    return "\n".join([f"# {title}", "", text.strip(), "", f"{said}.", *body]) + "\n"


def pair_table(results: Sequence[dict], unit: str) -> list[str]:
    """Markdown lines of rows that set ours beside a peer."""
    head = [cell.format(unit=unit) for cell in HEAD]
    lines = ["", f"| {' | '.join(head)} |", "|---|---|---:|---:|---:|---:|---:|---:|---:|---|---|"]
    return [*lines, *(f"| {' | '.join(cells(one))} |" for one in results)]


def cells(one: dict) -> list[str]:
    peer = one["peer"] if one["version"] is None else f"{one['peer']} ({one['package']} {one['version']})"
    ours, theirs = one.get("ours", {}), one.get("theirs", {})
    failed = one.get("error_theirs") or theirs.get("error")
    remarks = [one["note"]] if one["note"] else []
    if failed:
        remarks.append(f"the peer failed: {failed}")
    if "error" in one:
        remarks.append(f"failed: {one['error']}")
    if "error" in ours:
        remarks.append(f"memory of ours not measured: {ours['error']}")
    if one.get("images_theirs") and one["images_theirs"] != one["images_ours"]:
        remarks.append(f"{one['images_ours']} images through the model, the peer {one['images_theirs']}")
    if one.get("rounds", 2) == 1:
        remarks.append("one call each")
    return [
        one["task"],
        peer,
        figure(ours.get("forwards")),
        figure(theirs.get("forwards")),
        figure(one.get("ratio")),
        seconds(ours),
        seconds(theirs),
        memory(ours),
        memory(theirs),
        agreement(one.get("agreement")),
        "; ".join(remarks),
    ]


def figure(spread: dict | None) -> str:
    if spread is None:
        return "–"
    if spread["low"] == spread["high"]:
        return f"{spread['median']:.2f}"
    return f"{spread['median']:.2f} ({spread['low']:.2f}–{spread['high']:.2f})"


def seconds(side: dict) -> str:
    return f"{side['seconds']:.3g}" if "seconds" in side else "–"


def memory(side: dict) -> str:
    return f"{side['peak_mb']:.0f}" if "peak_mb" in side else "–"


def agreement(found: dict | None) -> str:
    if not found:
        return "–"
    rank = f"ρ {found['spearman']:.4f}, " if "spearman" in found else ""
    return f"{rank}Δ {found['difference']:.1e}"


# ---------------------------------------------------------------------- targets


def attribution_targets(results: Sequence[dict]) -> list[str]:
    """What the first table says about the project's targets."""
    last4 = [one for one in results if one["task"] == LAST4]
    full = [one for one in results if one["task"] in FULL]
    return [
        bound("last-4 gradient-weighted attention, at most 1.40 × one forward", _forwards(last4), most=1.40),
        every("last-4 gradient-weighted attention faster and leaner than every peer", last4, leaner=True),
        every("full-layer methods no slower than any peer", full, leaner=False),
        same_maps(results),
    ]


def same_maps(results: Sequence[dict]) -> str:
    """Whether both sides computed the same: without it no ratio of theirs means anything."""
    compared = [one for one in results if one.get("agreement")]
    if not compared:
        return "- same maps: not measured."
    limit = SAME if all(one["dtype"] == "float32" for one in compared) else ROUGH
    other = [one["row"] for one in compared if not one["agreement"]["difference"] <= limit]  # also NaN
    text = f"- same maps, largest difference at most {limit:g} of the largest value"
    return f"{text}: " + (f"**missed** in {'; '.join(other)}." if other else "**met**.")


def curve_targets(results: Sequence[dict]) -> list[str]:
    """What the second table says about the project's targets."""
    curves = [one for one in results if one["task"] in ("deletion", PAIR)]
    quantus = [one for one in results if one["package"] == "quantus"]
    systems = [one for one in results if one["task"] == SYSTEMS]
    on_gpu = [one for one in curves if one["device"].startswith("cuda")]
    efficiency = [1 / value for value in _forwards(on_gpu)]
    return [
        bound("deletion and insertion, at most 1.10 × the forwards they need", _forwards(curves), most=1.10),
        bound("on a GPU at least 0.90 of pure forward throughput", efficiency, least=0.90),
        bound("at least 3 × faster than Quantus for the same curve", _ratios(quantus), least=3.0),
        bound("ROAD at least 20 × faster than sparse LU", _ratios(systems), least=20.0),
    ]


def _forwards(results: Sequence[dict]) -> list[float]:
    return [one["ours"]["forwards"]["median"] for one in results if "ours" in one]


def _ratios(results: Sequence[dict]) -> list[float]:
    return [one["ratio"]["median"] for one in results if "ratio" in one]


def bound(text: str, values: Sequence[float], most: float | None = None, least: float | None = None) -> str:
    """A target on the figure of every row, as it is printed."""
    if not values:
        return f"- {text}: not measured."
    shown = [round(value, 2) for value in values]
    missed = sum(value > most if most is not None else value < (least or 0.0) for value in shown)
    said = ", ".join(f"{value:.2f}" for value in shown)
    return f"- {text}: {said}. " + (f"**Missed** in {missed} of {len(shown)}." if missed else "**Met.**")


def every(text: str, results: Sequence[dict], leaner: bool) -> str:
    """A target on every row: no peer faster, nor one that needs less memory."""
    compared = [one for one in results if "ratio" in one]
    if not compared:
        return f"- {text}: not measured."
    lost = [one["peer"] for one in compared if slower(one) or (leaner and fatter(one))]
    return f"- {text}: " + (f"**missed** beside {'; '.join(lost)}." if lost else "**met**.")


def losses(results: Sequence[dict]) -> list[str]:
    """Where a peer is faster or needs less memory, in one line each."""
    lines = []
    for one in results:
        name = f"{one['task']} beside {one['peer']}" + (f" ({one['at']})" if one.get("at") else "")
        if slower(one):
            lines.append(f"- {name}: the peer takes {figure(one['ratio'])} of our time.")
        if fatter(one):
            lines.append(f"- {name}: {memory(one['ours'])} MB, the peer {memory(one['theirs'])} MB.")
    return lines or ["- In no measured row."]


def slower(one: dict) -> bool:
    return "ratio" in one and one["ratio"]["median"] < 1


def fatter(one: dict) -> bool:
    ours, theirs = (one.get(side, {}).get("peak_mb") for side in ("ours", "theirs"))
    return ours is not None and theirs is not None and ours > theirs


# ---------------------------------------------------------------------- growth


def growth_tables(results: Sequence[dict]) -> list[str]:
    """Per series and row, figures by value, and how they grew since the first."""
    lines: list[str] = []
    for series in dict.fromkeys(one["series"] for one in results):
        chosen = [one for one in results if one["series"] == series]
        lines += [
            "",
            f"## {series}",
            "",
            "| task, peer | at | ours, × unit | peer ÷ ours "
            "| ours, s | grown | ours, MB | grown | peer, s | grown | peer, MB | grown |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for name in dict.fromkeys(one["row"] for one in chosen):
            of_row = [one for one in chosen if one["row"] == name]
            lines += [f"| {' | '.join(growth_cells(one, of_row[0]))} |" for one in of_row]
    return lines


def growth_cells(one: dict, first: dict) -> list[str]:
    ours = figure(one.get("ours", {}).get("forwards"))
    found = [f"{one['task']}; {one['peer']}", one["at"], ours, figure(one.get("ratio"))]
    for side in ("ours", "theirs"):
        now, then = one.get(side, {}), first.get(side, {})
        shown = (("seconds", "{:.3g}"), ("peak_mb", "{:.0f}"))
        for key, form in shown:
            failed = one.get("error") or now.get("error") or one.get(f"error_{side}")
            pieces = one.get("pieces", 1) if key == "seconds" else 1
            before = first.get("pieces", 1) if key == "seconds" else 1
            if key not in now:
                found += [failed or "–", ""]
                continue
            found.append(form.format(now[key] * pieces))
            grown = key in then and then[key] > 0
            found.append(f"{now[key] * pieces / (then[key] * before):.1f} ×" if grown else "")
    return found
