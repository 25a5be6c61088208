"""Whatever can be used on pages of each kind is used by a test; here is what no other test has a use for."""

from pathlib import Path

from browsing import untried
from playwright.sync_api import expect
from report_pages import benchmark_page, explanation_page
from sheets import opened
from survey_pages import survey
from video_pages import video_page
from viewing import choose, settle

from xai.report.survey_page import survey_page

HERE = Path(__file__).parent
THIS = "test_controls.py::"
EVERYWHERE = {
    "a.skip": THIS + "skips",
    "main summary, header summary": THIS + "unfold_by_hand",
    ".scroll[tabindex]": THIS + "test_the_page_of_a_survey",
}
VIEWER = {
    "#theme input": "test_page.py::test_the_theme_follows_the_system_and_the_switch",
    "#list-fields select": "test_gallery.py::test_the_order_of_the_images",
    "#list-fields input[type=search]": "test_gallery.py::test_names_are_filtered",
    "#list-fields input[type=checkbox]": "test_gallery.py::test_one_image_is_large_and_the_keys_go_on",
    ".thumb": "test_gallery.py::test_one_image_is_large_and_the_keys_go_on",
    "#image-next": "test_gallery.py::test_one_image_is_large_and_the_keys_go_on",
    "#image-previous": THIS + "test_an_explanation_page",
    "#fields input[type=radio]": THIS + "test_an_explanation_page",
    "#fields select": "test_viewer.py::test_the_sign_keeps_one_side",
    "#fields input[type=range]": "test_viewer.py::test_the_threshold_hides_what_is_weak",
    "#fields input[type=checkbox]": "test_viewer.py::test_outlines_can_be_left_out",
    "#reset": "test_comparing.py::test_reset",
    ".frame canvas[tabindex]": "test_viewer.py::test_the_arrow_keys_read_the_patches",
    ".marks a": "test_gallery.py::test_caveats_are_said_once_and_marked",
    ".saliency-card a": "test_benchmark_part.py::test_cards_say_what_was_measured_and_what_was_not",
    "button.copy": "test_benchmark_part.py::test_csv_holds_exact_numbers",
    ".open-sheet": "test_sheet.py::test_opens_from_its_button_and_gives_the_focus_back",
    "#sheet-previous, #sheet-next": "test_sheet.py::test_goes_from_image_to_image",
    "#sheet-close": "test_sheet.py::test_opens_from_the_address",
    "#sheet-print": "test_sheet.py::test_the_print_button_prints",
    "#sheet a.row-name, #sheet [tabindex='-1']": (
        "test_sheet.py::test_names_are_in_words_and_those_of_configurations_beside_them"
    ),
}
VIDEO = {
    "#time-plot input": "test_timeline.py::test_a_frame_that_the_page_does_not_hold_shows_its_neighbour",
    "#film button": "test_timeline.py::test_the_strip_leads_to_frames_and_all_share_one_scale",
    "#time-now a": "test_timeline.py::test_the_pointer_shows_its_frame_and_a_click_leads_to_it",
}
BENCHMARK = {
    "button.sort": "test_benchmark_part.py::test_sorting_by_keyboard",
    ".dots thead a": "test_benchmark_verdict.py::test_links_open_what_is_folded",
    "main a.row-name": "test_benchmark_verdict.py::test_names_are_told_to_the_pointer_and_to_the_keyboard",
    ".legend button": "test_benchmark_part.py::test_the_legend_brings_rows_out",
    ".explorer select": "test_explorer.py::test_deletion_is_drawn_as_the_model_saw_it",
    ".explorer input": "test_explorer.py::test_the_slider_moves_by_keys_and_turns_no_page",
}


FOLD = "(one) => [one.parentElement.scrollHeight, one.parentElement.open]"


def unfold_by_hand(tab):
    """Open every fold by its summary, those within others, too; each shows something.

    By keys, which find it wherever it is: charts that are drawn meanwhile move it from under a pointer.
    """
    for summary in tab.locator("main summary, header summary").element_handles():
        before, opened = summary.evaluate(FOLD)
        if opened or not summary.is_visible():
            continue
        summary.press("Enter")
        after, opened = summary.evaluate(FOLD)
        assert opened and after > before, summary.inner_text()
    assert tab.locator("details:not([open]):visible").count() == 0


def skips(tab):
    """The first stop of the keyboard leads past the heading."""
    tab.locator("a.skip").press("Enter")
    assert tab.url.endswith("#main")
    tab.keyboard.press("Tab")
    assert tab.evaluate("() => document.activeElement.closest('main, footer') !== null")


def test_an_explanation_page(open_page):
    """Back and forth: between images, views, orders; what was folded folds again."""
    tab = open_page(explanation_page(3), controls=False)
    skips(tab)
    sorting = tab.locator("#sorting")
    sorting.locator("summary").click()
    expect(tab.locator("#list-fields")).to_be_hidden()
    unfold_by_hand(tab)
    expect(tab.locator("#list-fields")).to_be_visible()
    large = tab.locator("article.image:visible")
    for button, place in (("next", 1), ("next", 2), ("previous", 1)):
        tab.locator(f"#image-{button}").click()
        expect(large).to_have_attribute("id", f"image-{place}")
    for view, canvases in (("Wipe", 1), ("Side by side", 5)):
        tab.locator("#fields .segments").get_by_text(view).click()
        expect(large.locator(".frame canvas")).to_have_count(canvases)
    given = tab.locator(".thumb").evaluate_all("(all) => all.map((one) => one.dataset.place)")
    choose(tab, "Order", "by name")
    tab.get_by_label("Reversed").check()
    choose(tab, "Order", "as given")
    tab.get_by_label("Reversed").uncheck()
    settle(tab)
    assert tab.locator(".thumb").evaluate_all("(all) => all.map((one) => one.dataset.place)") == given
    opened(tab)
    assert untried(tab, EVERYWHERE | VIEWER, HERE) == []


def test_the_page_of_a_video(open_page):
    tab = open_page(video_page())
    opened(tab)
    assert untried(tab, EVERYWHERE | VIEWER | VIDEO, HERE) == []


def test_the_page_of_a_benchmark(open_page):
    tab = open_page(benchmark_page(2, short=True), controls=False)
    unfold_by_hand(tab)
    chart = tab.locator("[data-chart^=curves]").first
    chart.scroll_into_view_if_needed()
    expect(chart).to_have_attribute("data-drawn", "true")
    tab.evaluate("() => scrollTo(0, document.getElementById('maps').offsetTop)")
    opened(tab)
    assert untried(tab, EVERYWHERE | VIEWER | BENCHMARK, HERE) == []


def test_the_page_of_a_survey(open_page, tmp_path):
    """It has no script: links, folds, and tables that scroll by keyboard where they are wide."""
    path = tmp_path / "survey.html"
    path.write_text(survey_page(survey()), "utf-8")
    tab = open_page(path, wait_ready=False, width=390, height=844)
    skips(tab)
    unfold_by_hand(tab)
    wide = tab.get_by_role("region", name="Shares of face parts").first
    wide.focus()
    wide.press("ArrowRight")
    tab.wait_for_timeout(300)
    assert wide.evaluate("(one) => one.scrollLeft") > 0
    assert untried(tab, EVERYWHERE, HERE) == []
