"""`xai demo`: the shipped detector on the shipped images, offline, in one command."""

from pathlib import Path
from typing import Annotated

from xai.cli.guard import Debug, guarded
from xai.cli.options import Lang, Out
from xai.cli.outcome import Outcome
from xai.cli.output import progress, say, show_table


@guarded
def demo(
    out: Out = Path("attention_results/demo"), lang: Lang = "en", debug: Annotated[bool, Debug] = False
) -> None:
    """Explain the shipped images, pristine and forged, with the shipped detector.

    Needs no network and no files of yours. The forged region is outlined where it is known.
    """
    from xai.core.language import gettext
    from xai.data import shipped_samples
    from xai.explanation import Explainer, PageBuilder, explain_each
    from xai.models import load

    samples = shipped_samples()
    explainer = Explainer(load("demo"))
    outcome = Outcome(total=len(samples), out=out, builder=PageBuilder(explainer, len(samples)))
    with outcome.collecting(), progress(len(samples), gettext("Explaining")) as step:
        for result in explain_each(explainer, samples, out):
            outcome.add(result)
            step()
    outcome.write_page(gettext("The shipped detector on the shipped images"))
    rows, pointed = [], {True: gettext("yes"), False: gettext("no"), None: ""}
    for record in outcome.records:
        hit = record["maps"]["fake"].get("points_into_mask")
        rows.append([
            record["image"]["id"], record["image"]["label"], record["predicted"],
            f"{record['probabilities']['fake']:.3f}", pointed[hit],
        ])  # fmt: skip
    header = [gettext("image"), gettext("true class"), gettext("predicted"), "P(fake)"]
    show_table([*header, gettext("strongest fake evidence in the forged region")], rows)
    say(gettext("Pictures and page: {folder}", folder=out.resolve()))
    outcome.finish(
        gettext("open {page}, then try your own: xai explain IMAGE", page=out / "index.html"),
    )
