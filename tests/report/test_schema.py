"""The published description of a page's data is that of the code."""

import json
from pathlib import Path

import jsonschema
from report_pages import benchmark_page, comparison_page, explanation_page

from xai.report.payload import Page, json_schema

DOCUMENT = Path(__file__).parents[2] / "docs" / "report.schema.json"


def test_the_published_schema_is_current() -> None:
    """Written anew by: python -c "import json; from xai.report.payload import json_schema; …"."""
    assert json.loads(DOCUMENT.read_text("utf-8")) == json_schema()


def test_pages_of_every_kind_fit_the_schema_and_come_back_the_same() -> None:
    for page in (explanation_page(), comparison_page(), benchmark_page()):
        text = page.model_dump_json(by_alias=True)
        jsonschema.validate(json.loads(text), json_schema())
        assert Page.model_validate_json(text) == page
