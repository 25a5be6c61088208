"""The faithfulness benchmark: configuration → plan of hashed units → records → verdicts.

The names below load on first use: what reads a run needs neither torch nor the model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xai.bench.config.reading import read_benchmark as read_benchmark
    from xai.bench.config.reading import read_survey as read_survey
    from xai.bench.config.reading import starter_config as starter_config
    from xai.bench.config.reading import starter_survey as starter_survey
    from xai.bench.config.schema import BenchmarkConfig as BenchmarkConfig
    from xai.bench.config.schema import json_schema as json_schema
    from xai.bench.config.survey import SurveyConfig as SurveyConfig
    from xai.bench.config.survey import survey_json_schema as survey_json_schema
    from xai.bench.results.compare import RunPair as RunPair
    from xai.bench.results.compare import compare_runs as compare_runs
    from xai.bench.results.finished import FinishedBenchmark as FinishedBenchmark
    from xai.bench.results.finished import benchmark as benchmark
    from xai.bench.results.markdown import to_markdown as to_markdown
    from xai.bench.results.markdown import write_summary as write_summary
    from xai.bench.results.page import page_of_run as page_of_run
    from xai.bench.results.summary import summarise as summarise
    from xai.bench.results.survey import survey_results as survey_results
    from xai.bench.results.survey_compare import compare_surveys as compare_surveys
    from xai.bench.results.survey_files import write_survey as write_survey
    from xai.bench.results.tuning import Tuning as Tuning
    from xai.bench.results.tuning import method_config as method_config
    from xai.bench.results.tuning import tune as tune
    from xai.bench.run.context import RunContext as RunContext
    from xai.bench.run.description import RunDescription as RunDescription
    from xai.bench.run.engines import RayOptions as RayOptions
    from xai.bench.run.estimate import Estimate as Estimate
    from xai.bench.run.estimate import estimate as estimate
    from xai.bench.run.export import export as export
    from xai.bench.run.plan import Plan as Plan
    from xai.bench.run.plan import WorkItem as WorkItem
    from xai.bench.run.plan import make_plan as make_plan
    from xai.bench.run.runner import Progress as Progress
    from xai.bench.run.runner import RunResult as RunResult
    from xai.bench.run.runner import run_benchmark as run_benchmark
    from xai.bench.run.status import Status as Status
    from xai.bench.run.status import status as status
    from xai.bench.run.store import read_records as read_records
    from xai.bench.run.store import read_run as read_run
    from xai.bench.run.work_item import run_item as run_item
    from xai.stats import Exclusion as Exclusion
    from xai.stats import Summary as Summary

_ROOMS = {
    "BenchmarkConfig": "xai.bench.config.schema",
    "Estimate": "xai.bench.run.estimate",
    "Exclusion": "xai.stats",
    "FinishedBenchmark": "xai.bench.results.finished",
    "Plan": "xai.bench.run.plan",
    "Progress": "xai.bench.run.runner",
    "RayOptions": "xai.bench.run.engines",
    "RunContext": "xai.bench.run.context",
    "RunDescription": "xai.bench.run.description",
    "RunPair": "xai.bench.results.compare",
    "RunResult": "xai.bench.run.runner",
    "Status": "xai.bench.run.status",
    "Summary": "xai.stats",
    "SurveyConfig": "xai.bench.config.survey",
    "Tuning": "xai.bench.results.tuning",
    "WorkItem": "xai.bench.run.plan",
    "benchmark": "xai.bench.results.finished",
    "compare_runs": "xai.bench.results.compare",
    "compare_surveys": "xai.bench.results.survey_compare",
    "survey_results": "xai.bench.results.survey",
    "write_survey": "xai.bench.results.survey_files",
    "estimate": "xai.bench.run.estimate",
    "export": "xai.bench.run.export",
    "json_schema": "xai.bench.config.schema",
    "make_plan": "xai.bench.run.plan",
    "method_config": "xai.bench.results.tuning",
    "page_of_run": "xai.bench.results.page",
    "read_benchmark": "xai.bench.config.reading",
    "read_records": "xai.bench.run.store",
    "read_survey": "xai.bench.config.reading",
    "read_run": "xai.bench.run.store",
    "run_benchmark": "xai.bench.run.runner",
    "run_item": "xai.bench.run.work_item",
    "starter_config": "xai.bench.config.reading",
    "starter_survey": "xai.bench.config.reading",
    "status": "xai.bench.run.status",
    "survey_json_schema": "xai.bench.config.survey",
    "summarise": "xai.bench.results.summary",
    "to_markdown": "xai.bench.results.markdown",
    "tune": "xai.bench.results.tuning",
    "write_summary": "xai.bench.results.markdown",
}

__all__ = [
    "BenchmarkConfig",
    "Estimate",
    "Exclusion",
    "FinishedBenchmark",
    "Plan",
    "Progress",
    "RayOptions",
    "RunContext",
    "RunDescription",
    "RunPair",
    "RunResult",
    "Status",
    "Summary",
    "SurveyConfig",
    "Tuning",
    "WorkItem",
    "benchmark",
    "compare_runs",
    "compare_surveys",
    "estimate",
    "export",
    "json_schema",
    "make_plan",
    "method_config",
    "page_of_run",
    "read_benchmark",
    "read_records",
    "read_run",
    "read_survey",
    "run_benchmark",
    "run_item",
    "starter_config",
    "starter_survey",
    "status",
    "summarise",
    "survey_json_schema",
    "survey_results",
    "to_markdown",
    "tune",
    "write_summary",
    "write_survey",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'xai.bench' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_ROOMS[name]), name)
    return found
