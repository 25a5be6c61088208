"""What a protocol does, in a sentence."""

from collections.abc import Mapping
from typing import Any

from xai.core.language import gettext, gettext_noop, ngettext

REMOVED = {
    "token": gettext_noop("What is removed is masked in the model's attention; nothing stands in its place."),
    "mean": gettext_noop("What is removed gets the image's mean colour."),
    "region_mean": gettext_noop("What is removed gets its own mean colour."),
    "minimum": gettext_noop("What is removed gets the smallest value of the model's input."),
    "constant": gettext_noop("What is removed gets one colour, the same in all images."),
    "blur": gettext_noop("What is removed is blurred."),
    "rise_blur": gettext_noop("What is removed is blurred."),
    "noise": gettext_noop("What is removed is replaced by noise."),
    "road": gettext_noop("What is removed is filled in from its neighbours, with a little noise."),
    "attack": gettext_noop("What is removed is changed slightly by a search against the model."),
    "adversarial": gettext_noop(
        "What is removed is changed slightly by a search against the model, once for the image."
    ),
}
FOLLOWED = {
    ("margin", "label"): gettext_noop("The margin of the true class over all others is followed"),
    ("margin", "predicted"): gettext_noop("The margin of the predicted class over all others is followed"),
    ("probability", "label"): gettext_noop("The probability of the true class is followed"),
    ("probability", "predicted"): gettext_noop("The probability of the predicted class is followed"),
    ("logit", "label"): gettext_noop("The logit of the true class is followed"),
    ("logit", "predicted"): gettext_noop("The logit of the predicted class is followed"),
    ("accuracy", "label"): gettext_noop("Whether the true class stays on top is followed"),
    ("accuracy", "predicted"): gettext_noop("Whether the predicted class stays on top is followed"),
}
MAPS = gettext_noop(
    "These metrics look at the map itself, beside the mask where one is known; nothing is removed."
)
CHECKS = gettext_noop("Checks that explain an image many times, so they were made on few images.")


def protocol_sentences(protocol: Mapping[str, Any] | None, name: str) -> list[str]:
    """What is removed, and what is followed of the model meanwhile.

    Args:
        protocol: Its definition in the summary; None for what needs no protocol.
        name: What stands in its place then: "maps" or "checks".
    """
    if protocol is None:
        return [gettext(found) for found in [{"maps": MAPS, "checks": CHECKS}.get(name)] if found]
    removed = REMOVED.get(protocol["operator"]["name"])
    followed = FOLLOWED.get((protocol["value"], protocol["target"]))
    sentences = [] if removed is None else [gettext(removed)]
    if followed is not None:
        steps = protocol["steps"] or len(protocol["fractions"] or ())
        along = ngettext("in {n} step", "in {n} steps", steps) if steps else gettext("step by step")
        sentences.append(gettext("{followed}, {along}.", followed=gettext(followed), along=along))
    return sentences
