"""The list of images: its order, its filter, and that only what is in view is painted."""

import re
from collections import Counter
from importlib.resources import files

from playwright.sync_api import expect
from report_pages import benchmark_page, explanation_page
from viewing import (
    METHOD,
    choose,
    settle,
    slide,
)

from xai.report.page import SCRIPTS


def listed(tab):
    return [
        int(name.removeprefix("image-"))
        for name in tab.locator("article.image:visible").evaluate_all("(all) => all.map((one) => one.id)")
    ]


def test_the_order_of_the_images(open_page):
    page = benchmark_page(7)
    names = ["b10", "b9", "c", "a", "d", "f", "e"]
    images = [image.model_copy(update={"name": name}) for image, name in zip(page.images, names, strict=True)]
    images[4] = images[4].model_copy(update={"disagreement": None})
    page = page.model_copy(update={"images": images})
    tab = open_page(page, hash="#maps")
    assert listed(tab) == list(range(7))

    choose(tab, "Order", "most disagreement first")
    known = sorted((i for i in range(7) if i != 4), key=lambda i: -(images[i].disagreement or 0))
    assert listed(tab) == [*known, 4]
    tab.get_by_label("Reversed").check()
    assert listed(tab) == [*known[::-1], 4]  # the unknown stays last
    tab.get_by_label("Reversed").uncheck()

    choose(tab, "Order", "by name")
    assert listed(tab) == [3, 1, 0, 2, 4, 6, 5]
    choose(tab, "Order", "by probability of the prediction")
    assert listed(tab) == sorted(range(7), key=lambda i: -images[i].probabilities[images[i].predicted])

    choose(tab, "Order", "by score of method A")
    for part, row in ((page.parts[0], page.rows[0].name), (page.parts[-1], page.rows[4].name)):
        tab.get_by_label("Score of method A in", exact=True).select_option(index=page.parts.index(part))
        choose(tab, "Method A", row)
        expected = sorted(range(7), key=lambda i: images[i].scores[part.key][row] or 0)
        expect(tab.locator("#list-status")).to_have_text("7 of 7 images")
        assert listed(tab) == expected


def test_names_are_filtered(open_page):
    tab = open_page(explanation_page(12))
    tab.get_by_label("Name contains").fill("PHOTO_1")
    expect(tab.locator("#list-status")).to_have_text("3 of 12 images")
    assert listed(tab) == [1, 10, 11]
    tab.locator("#image-11").scroll_into_view_if_needed()
    expect(tab.locator("#image-11 .frame canvas").first).to_be_attached()
    tab.get_by_label("Name contains").fill("")
    assert listed(tab) == list(range(12))


PAINTED = "(all) => all.filter((one) => one.querySelector('.frame canvas')).map((one) => one.id)"


def test_only_what_is_in_view_is_painted_and_kept(open_page):
    tab = open_page(explanation_page(120))
    articles = tab.locator("article.image")
    expect(tab.locator("#image-0 .frame canvas")).to_have_count(5)
    assert len(articles.evaluate_all(PAINTED)) < 12
    tab.locator("#image-110").scroll_into_view_if_needed()
    expect(tab.locator("#image-110 .frame canvas")).to_have_count(5)
    assert len(articles.evaluate_all(PAINTED)) < 24
    for place in range(0, 102, 2):
        tab.locator(f"#image-{place}").scroll_into_view_if_needed()
        settle(tab)
    expect(tab.locator("#image-100 .frame canvas")).to_have_count(5)
    assert len(articles.evaluate_all(PAINTED)) <= 60
    tab.locator("#image-0").scroll_into_view_if_needed()
    expect(tab.locator("#image-0 .frame canvas")).to_have_count(5)  # decoded anew


def test_links_lead_to_images(open_page):
    tab = open_page(explanation_page(40), hash="#image-30")
    expect(tab.locator("#image-30 h3")).to_be_in_viewport()
    expect(tab.locator("#image-30 .frame canvas")).to_have_count(5)


def test_a_phone_begins_with_the_controls_folded(open_page):
    tab = open_page(explanation_page(1), width=360, height=740)
    expect(tab.get_by_role("slider", name="Opacity")).to_be_hidden()
    expect(tab.locator("#look-words")).to_have_text("every class · opacity 80%")
    tab.locator("#controls summary").click()
    slide(tab, "Opacity", 30)
    expect(tab.locator("#look-words")).to_have_text("every class · opacity 30%")


def test_classes_named_like_the_languages_own_words(open_page):
    page = explanation_page(1)
    image = page.images[0]
    names = {"real": "constructor", "fake": "__proto__"}
    image = image.model_copy(
        update={
            "maps": {METHOD: {names[label]: grid for label, grid in image.maps[METHOD].items()}},
            "probabilities": {names[label]: value for label, value in image.probabilities.items()},
            "predicted": "constructor",
            "label": "__proto__",
            "products": {},
        }
    )
    changes = {"images": [image], "classes": list(names.values()), "labels": list(names.values())}
    tab = open_page(
        page.model_copy(update={**changes, "compared": ("__proto__", "constructor"), "fusion": None})
    )
    titles = tab.locator("#image-0 .panel strong").all_inner_texts()
    assert [title.split(":")[0] for title in titles] == [
        "original",
        "constructor",
        "__proto__",
        "difference",
        "overlap",
    ]


def test_no_name_is_declared_in_two_scripts():
    """All scripts share one scope."""
    folder = files("xai.report") / "web"
    declared = Counter(
        name
        for script in SCRIPTS
        for name in re.findall(
            r"^(?:async )?(?:const|let|function) (\w+)", (folder / f"{script}.js").read_text("utf-8"), re.M
        )
    )
    assert [name for name, times in declared.items() if times > 1] == []
