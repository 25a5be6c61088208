"""A page's data fit the schema that `make docs` publishes."""

import json

import jsonschema
from report_pages import benchmark_page, comparison_page, explanation_page

from xai.report.payload import Page, json_schema


def test_pages_of_every_kind_fit_the_schema_and_come_back_the_same() -> None:
    for page in (explanation_page(), comparison_page(), benchmark_page()):
        text = page.model_dump_json(by_alias=True)
        jsonschema.validate(json.loads(text), json_schema())
        assert Page.model_validate_json(text) == page
