"""Vega-Lite specifications of a benchmark's charts."""

from typing import Any

from xai.report.payload import Page


def charts_of(page: Page) -> dict[str, dict[str, Any]]:
    """Chart id → Vega-Lite specification, with its data; empty for pages without a benchmark."""
    return {}
