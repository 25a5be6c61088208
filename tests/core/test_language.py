"""Languages: chosen per block of code, complete, and no sentence whose placeholders got lost."""

import re
from contextvars import copy_context
from io import BytesIO
from threading import Thread

import pytest

from xai.attr import list_methods
from xai.core import UsageError
from xai.core.language import LANGUAGES, catalogue, current_language, gettext, language, listed, ngettext
from xai.metrics import list_metrics
from xai.report.page import CALL, script_text

translations = pytest.importorskip("translations", reason="Babel is missing: make install")
TRANSLATED = translations.translated_languages()
# what a new method or metric says of itself is shown in English until a translator comes
SUMMARIES = {info.summary for info in (*list_methods(), *list_metrics())}
RENEW = "run: make translations, and translate what it lists"


def test_a_language_holds_for_its_block_only():
    with language("zh"):
        assert gettext("{first} and {last}", first="a", last="b") == "a 和 b"
        with language("en"):
            assert listed(["a", "b", "c"]) == "a, b and c"
        assert listed(["a", "b", "c"]) == "a、b 和 c"
        with language(None):
            assert current_language() == "zh"
    assert current_language() == "en"


def test_a_language_ends_with_an_error():
    with pytest.raises(RuntimeError), language("zh"):
        raise RuntimeError
    assert current_language() == "en"


def test_threads_do_not_share_a_language():
    heard = []
    with language("zh"):
        context = copy_context()
        for run in (lambda say: say(), context.run):
            thread = Thread(target=run, args=(lambda: heard.append(current_language()),))
            thread.start()
            thread.join()
    assert heard == ["en", "zh"]


def test_an_unknown_language_is_refused_with_the_valid_ones():
    with pytest.raises(UsageError, match=r"'zz'[^V]*Valid: en, zh\."), language("zz"):
        pass


def test_numbers_choose_the_form():
    assert ngettext("{n} image", "{n} images", 1) == "1 image"
    assert ngettext("{n} image of {total}", "{n} images of {total}", 0, total=5) == "0 images of 5"


def test_braces_in_a_value_are_text():
    assert gettext("model {name}", name="{0} {x} %s") == "model {0} {x} %s"


@pytest.fixture(scope="module")
def marked():
    return translations.template()


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_marked_sentence_is_translated(code, marked):
    found = translations.catalogue_of(code)
    missing = [one.id for one in marked if one.id and found.get(one.id, one.context) is None]
    assert set(map(str, missing)) <= SUMMARIES, RENEW
    assert set(translations.untranslated(found)) <= SUMMARIES, RENEW


@pytest.mark.parametrize("code", TRANSLATED)
def test_no_sentence_is_translated_that_is_marked_no_more(code, marked):
    found = translations.catalogue_of(code)
    assert [one.id for one in found if one.id and marked.get(one.id, one.context) is None] == [], RENEW
    assert list(found.obsolete) == []


@pytest.mark.parametrize("code", TRANSLATED)
def test_translations_keep_the_placeholders(code):
    assert translations.misplaced(translations.catalogue_of(code)) == []


@pytest.mark.parametrize("code", TRANSLATED)
def test_programs_read_what_translators_wrote(code):
    written = {}
    for one in translations.catalogue_of(code):
        if one.id:
            key = one.id if isinstance(one.id, str) else one.id[0]
            forms = (one.string,) if isinstance(one.string, str) else one.string
            if not all(forms):
                continue  # shown in English
            written[f"{one.context}\x04{key}" if one.context else key] = forms
    speaking = catalogue(code)
    for key, forms in written.items():
        context, _, message = key.rpartition("\x04")
        said = speaking.pgettext(context, message) if context else speaking.ngettext(message, message, 1)
        assert said == forms[0] or (speaking.gettext(message) == forms[0] and not context), RENEW


def test_a_lost_placeholder_is_noticed():
    catalog = translations.Catalog(locale="zh")
    catalog.add("{n} of {total}", "{n}")
    catalog.add(("%(n)s image", "%(n)s images"), ("%(n)s 张图像",))
    catalog.add("peak", "峰值 {share}")
    catalog.add("empty", "")
    assert translations.misplaced(catalog) == ["{n} of {total}", "peak"]
    assert translations.untranslated(catalog) == ["empty"]


def test_calls_are_found_wherever_they_stand():
    source = b"""f'{gettext("a {x}", x=[gettext("b") for _ in ngettext("c", "d", len(gettext("e")))])}'"""
    found = translations.from_python(BytesIO(source), (), (), {})
    assert sorted(texts for _, _, texts, _ in found) == [("a {x}",), ("b",), ("c", "d"), ("e",)]


def test_the_scripts_mark_whole_literals():
    """A message that is put together at run time could not be found, nor translated."""
    calls = re.findall(r"(?<!function )\b(?:gettext|ngettext|pgettext)\(", script_text())
    assert len(calls) == len(CALL.findall(script_text()))


def test_languages_have_names():
    assert set(LANGUAGES) == {"en", *TRANSLATED}


def test_no_space_stands_between_chinese_characters():
    with language("zh"):
        other = gettext("random maps")
        assert gettext("better than {other}, {p}", other=other, p="p=1") == f"优于{other}，p=1"
        assert gettext("better than {other}, {p}", other="random", p="p=1") == "优于 random，p=1"
