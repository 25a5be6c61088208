"""The page as a whole, whatever it shows: closed to the outside, accessible, on every screen, on paper."""

import re

import pytest
from browsing import COLOURS, axe, described, grave, unnamed
from playwright.sync_api import expect
from report_pages import benchmark_page, comparison_page, explanation_page

from xai.report import to_html

KINDS = {"explanation": explanation_page, "comparison": comparison_page, "benchmark": benchmark_page}
PHONE = {"width": 360, "height": 740}
WIDEST = """() => [...document.querySelectorAll("body *")]
  .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
  .filter((one) => !one.closest(".scroll, .sr-only"))
  .slice(0, 8).map((one) => `${one.tagName}.${one.className}#${one.id}`)"""
FOCUSED = """() => {
  const one = document.activeElement;
  const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
  const near = [one, one.nextElementSibling, one.closest("label")]
    .filter(Boolean).map((e) => getComputedStyle(e));
  return {
    place: ["dialog", ".toolbar", "article", "header", "main", "body"].find((css) => one.closest(css)),
    seen: near.some((s) => s.outlineStyle !== "none" && s.outlineWidth !== "0px") || boxShadow !== "none",
    what: one.outerHTML.slice(0, 120), outlineStyle, outlineWidth,
  };
}"""


@pytest.fixture(scope="module", params=KINDS)
def page(request):
    """A benchmark's with fewer metrics, which has of every element some."""
    return benchmark_page(2, short=True) if request.param == "benchmark" else KINDS[request.param]()


@pytest.fixture(scope="module")
def folded(open_once, page):
    """As it opens; tests put back what they change."""
    tab = open_once(page)
    yield tab
    open_once.shut(tab)


@pytest.fixture(scope="module")
def unfolded(open_once, page):
    """With everything open and drawn, but the sheet; tests close it."""
    tab = open_once(page)
    unfold(tab)
    yield tab
    open_once.shut(tab)


@pytest.fixture(scope="module")
def unscripted(open_once, page):
    tab = open_once(page, java_script_enabled=False, wait_ready=False)
    yield tab
    open_once.shut(tab)


@pytest.fixture(scope="module")
def narrow(open_once, page):
    """On a phone, with everything open but the sheet; and what was too wide before it was opened."""
    tab = open_once(page, **PHONE)
    wide = too_wide(tab)
    unfold(tab)
    yield tab, wide
    open_once.shut(tab)


def unfold(tab):
    """Open everything that can be opened, but the sheet, and let lazy parts draw."""
    tab.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    scroll_through(tab)
    for chart in tab.locator("[data-chart]").all():
        chart.scroll_into_view_if_needed()
        expect(chart).to_have_attribute("data-drawn", "true")
    tab.evaluate("() => scrollTo(0, 0)")


def open_maps(tab):
    """Open what folds the images, where a page folds them; unless it is open; works without scripts, too."""
    for summary in tab.locator("#maps:not([open]) > summary").all():
        summary.click()


def scroll_through(tab):
    for share in (0.25, 0.5, 0.75, 1, 0):
        tab.evaluate(f"() => scrollTo(0, {share} * document.documentElement.scrollHeight)")
        tab.wait_for_timeout(100)


def open_sheet(tab, place=0):
    tab.locator(f"#image-{place} .open-sheet").click()
    expect(tab.locator("dialog#sheet")).to_be_visible()
    expect(tab.locator("dialog#sheet canvas").first).to_be_visible()


def close_sheet(tab):
    tab.keyboard.press("Escape")
    expect(tab.locator("dialog#sheet")).to_be_hidden()


def too_wide(tab):
    """What a phone's reader would have to scroll sideways for."""
    width = tab.evaluate("() => document.scrollingElement.scrollWidth")
    return [] if width <= PHONE["width"] else [width, *tab.evaluate(WIDEST)]


def luminance(tab, css="body"):
    """0 black to 1 white: the background's mean."""
    colour = tab.locator(css).evaluate("(one) => getComputedStyle(one).backgroundColor")
    parts = [float(part) for part in colour.strip("rgba()").split(",")[:3]]
    return sum(parts) / 765


def test_it_opens_from_disk_and_stays_clean(unfolded, page):
    """What is not clean, from the first request to the last, is found by the fixtures."""
    tab = unfolded
    expect(tab).to_have_title(re.compile(re.escape(page.title)))
    expect(tab.locator("article.image")).to_have_count(len(page.images))
    open_sheet(tab)
    close_sheet(tab)


def test_the_policy_names_nothing_unsafe(folded):
    policy = folded.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert policy.startswith("default-src 'none'; img-src data:; script-src 'sha256-")
    assert not any(word in policy for word in ("unsafe", "http", "*", "blob:", "strict-dynamic"))


def test_a_page_whose_script_cannot_be_unpacked_says_so(open_page, tmp_path):
    content = to_html(explanation_page(1))
    path = tmp_path / "broken.html"
    path.write_text(re.sub(r'(?s)(id="data-script">)[^<]*', r"\1AAAA", content), "utf-8")
    tab = open_page(path, wait_ready=False, controls=False, tolerate=("console",))
    expect(tab.locator("#failure")).to_have_text(re.compile("cannot unpack the page.*can still be read"))
    expect(tab.locator(".verdict").first).to_contain_text("predicted")


def test_a_page_saved_by_a_browser_runs_its_script_once(open_page, tmp_path):
    path = tmp_path / "saved.html"
    path.write_text(open_page(explanation_page(1)).content(), "utf-8")
    saved = open_page(path, tolerate=("style-src",))  # which that browser writes into elements
    assert saved.locator("script:not([type])").count() == 1


def test_the_file_holds_no_handlers_and_no_inline_styles(unscripted):
    tab = unscripted
    names = tab.evaluate(
        "() => [...document.querySelectorAll('*')].flatMap((one) => one.getAttributeNames())"
    )
    assert not [name for name in names if name == "style" or name.startswith("on")]
    assert tab.locator("iframe, object, embed, base, link, form[action], a[href^='javascript:']").count() == 0


def test_the_policy_stops_what_is_injected(open_page):
    """The strict policy at work: neither an injected script nor a handler runs, and nothing is fetched."""
    tab = open_page(explanation_page(), tolerate=("policy", "Policy", "request: https://evil.example/"))
    tab.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.hacked = 1";
          document.body.append(script);
          const box = document.createElement("div");
          box.innerHTML = '<img src="data:," onerror="window.hacked = 2"><img src="https://evil.example/a.png">';
          document.body.append(box);
        }"""
    )
    tab.wait_for_timeout(200)
    assert tab.evaluate("() => window.hacked") is None
    assert len(tab.evaluate("() => window.__violations")) >= 2


@pytest.mark.parametrize(("scheme", "options"), [("light", {}), ("dark", {"runOnly": COLOURS})])
def test_axe_finds_nothing_serious(unfolded, scheme, options):
    """Everything in light; a dark page differs in its colours alone."""
    tab = unfolded
    tab.emulate_media(color_scheme=scheme)
    assert (luminance(tab) < 0.2) is (scheme == "dark")
    found = axe(tab, **options)
    open_sheet(tab)
    found += axe(tab, "#sheet", **options)
    close_sheet(tab)
    tab.emulate_media(color_scheme="light")
    assert not grave(found), described(found)


def test_axe_finds_nothing_serious_on_a_phone(narrow):
    """Its colours are those of a wide screen."""
    tab, _ = narrow
    found = axe(tab, rules={name: {"enabled": False} for name in COLOURS})
    assert not grave(found), described(found)


def test_whatever_can_be_used_has_a_name(unfolded):
    found = unnamed(unfolded)
    open_sheet(unfolded)
    found += unnamed(unfolded)
    close_sheet(unfolded)
    assert not found


def test_a_phone_scrolls_downwards_only(narrow):
    tab, wide = narrow
    assert not wide
    assert not too_wide(tab)
    open_sheet(tab)
    over = tab.locator("dialog#sheet").evaluate("(one) => one.scrollWidth - one.clientWidth")
    with_sheet = too_wide(tab)
    close_sheet(tab)
    assert over <= 0
    assert not with_sheet


def test_the_keyboard_reaches_everything(open_page, page):
    """Skip link, toolbar, first article, sheet and back; the focus is always seen."""
    tab = open_page(page)
    tab.evaluate("() => document.querySelectorAll('#maps').forEach((one) => { one.open = true; })")
    steps = []
    for _ in range(150):
        tab.keyboard.press("Tab")
        steps.append(tab.evaluate(FOCUSED))
        if "open-sheet" in steps[-1]["what"]:
            break
    places = [step["place"] for step in steps]
    assert "skip" in steps[0]["what"]
    assert ".toolbar" in places and "article" in places, places
    assert places.index(".toolbar") < places.index("article")
    assert "open-sheet" in steps[-1]["what"], steps[-3:]
    assert not [step for step in steps if not step["seen"]]

    tab.keyboard.press("Enter")
    expect(tab.locator("dialog#sheet")).to_be_visible()
    for _ in range(12):
        tab.keyboard.press("Tab")
        inside = tab.evaluate("() => document.activeElement.closest('dialog, body').tagName")
        assert inside in ("DIALOG", "BODY")  # the browser's own bar stands between last and first
        assert tab.evaluate("() => document.activeElement.closest('main')") is None
    tab.keyboard.press("Escape")
    expect(tab.locator("dialog#sheet")).to_be_hidden()
    expect(tab.locator("#image-0 .open-sheet")).to_be_focused()


def test_no_motion_where_the_reader_wants_none(folded):
    tab = folded
    tab.emulate_media(reduced_motion="reduce")
    moving = tab.evaluate(
        """() => [...document.querySelectorAll("*")].filter((one) => {
          const { transitionDuration, animationName, scrollBehavior } = getComputedStyle(one);
          const moves = transitionDuration.split(",").some((t) => parseFloat(t) > 0.01);
          return moves || animationName !== "none" || scrollBehavior === "smooth";
        }).map((one) => one.outerHTML.slice(0, 80))"""
    )
    tab.emulate_media(reduced_motion="no-preference")
    assert not moving


def test_the_theme_follows_the_system_and_the_switch(open_page):
    page = explanation_page(1)
    light, dark = (open_page(page, color_scheme=one) for one in ("light", "dark"))
    assert luminance(light) > 0.85
    assert luminance(dark) < 0.2

    use = light.locator(".theme")
    expect(use).to_be_visible()
    choose_theme(light, "dark")
    expect(light.locator("html")).to_have_attribute("data-theme", "dark")
    assert luminance(light) < 0.2
    choose_theme(dark, "light")
    assert luminance(dark) > 0.85
    light.emulate_media(color_scheme="light", media="print")
    assert luminance(light) > 0.85  # paper is white


def choose_theme(tab, name):
    switch = tab.locator(".theme")
    selects = switch.locator("select")
    if selects.count():
        selects.select_option(name)
    else:
        switch.get_by_text(name, exact=False).first.click()


def test_without_scripts_the_words_and_tables_remain(unscripted, page):
    tab = unscripted
    expect(tab.locator("header")).to_contain_text(page.title)
    open_maps(tab)
    expect(tab.locator("noscript .notice")).to_be_visible()
    expect(tab.locator("noscript .notice")).to_contain_text("JavaScript")
    assert tab.get_by_role("heading", level=2).count() >= 2
    for image in page.images:
        expect(tab.locator("#main")).to_contain_text(image.name)
    if page.kind == "benchmark":
        expect(tab.get_by_role("table").first).to_be_visible()
        said = tab.locator("#main").inner_text()
        assert "gradient-weighted attention" in said
    for css in (".toolbar", ".theme"):
        expect(tab.locator(css).first).to_be_hidden()  # controls that could do nothing


def test_paper_has_no_controls(folded):
    tab = folded
    expect(tab.locator(".toolbar").first).to_be_visible()
    tab.emulate_media(media="print")
    for css in (".toolbar", ".theme", ".open-sheet", ".skip"):
        expect(tab.locator(css).first).to_be_hidden()
    expect(tab.locator("h1")).to_be_visible()
    assert tab.pdf().startswith(b"%PDF")
    tab.emulate_media(media="screen")
