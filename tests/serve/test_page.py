"""The document that is served."""

import json
import re

from xai.core.language import language
from xai.report.page import CALL
from xai.serve.page import SCRIPTS, page_of, script_text_of_page
from xai.serve.uploads import Limits


def test_every_sentence_of_the_scripts_can_be_translated():
    text = script_text_of_page()
    calls = re.findall(r"(?<!function )\b(?:gettext|ngettext|pgettext)\(", text)
    assert len(calls) == len(CALL.findall(text))
    assert len(SCRIPTS) > 3


def test_the_page_in_chinese():
    with language("zh"):
        text, _ = page_of(Limits())
    assert '<html lang="zh-Hans">' in text
    assert "把图像或文件夹拖到这里" in text
    (messages,) = re.findall(r"const MESSAGES = (\{.*\});", text)
    assert json.loads(messages)["your region"] == ["您的区域"]


def test_limits_are_said_and_the_policy_is_that_of_the_document():
    text, policy = page_of(Limits(images=7, megabytes=9))
    assert "Up to 7 images of 9 MB each" in text
    stated = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert stated is not None
    assert policy.startswith(stated[1].replace("&#39;", "'"))
