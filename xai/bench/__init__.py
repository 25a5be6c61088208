"""The faithfulness benchmark: configuration → plan of hashed units → records → verdicts."""

from xai.bench.config.reading import read_benchmark, starter_config
from xai.bench.config.schema import BenchmarkConfig, json_schema
from xai.bench.results.compare import RunPair, compare_runs
from xai.bench.results.markdown import to_markdown, write_summary
from xai.bench.results.page import page_of_run
from xai.bench.results.summary import summarise
from xai.bench.results.tuning import Tuning, method_config, tune
from xai.bench.run.context import RunContext
from xai.bench.run.description import RunDescription
from xai.bench.run.engines import RayOptions
from xai.bench.run.estimate import Estimate, estimate
from xai.bench.run.plan import Plan, WorkItem, make_plan
from xai.bench.run.runner import Progress, RunResult, run_benchmark
from xai.bench.run.status import Status, status
from xai.bench.run.store import export, read_records, read_run
from xai.bench.run.work_item import run_item
from xai.stats import Exclusion, Summary

__all__ = [
    "BenchmarkConfig",
    "Estimate",
    "Exclusion",
    "Plan",
    "Progress",
    "RayOptions",
    "RunContext",
    "RunDescription",
    "RunPair",
    "RunResult",
    "Status",
    "Summary",
    "Tuning",
    "WorkItem",
    "compare_runs",
    "estimate",
    "export",
    "json_schema",
    "make_plan",
    "method_config",
    "page_of_run",
    "read_benchmark",
    "read_records",
    "read_run",
    "run_benchmark",
    "run_item",
    "starter_config",
    "status",
    "summarise",
    "to_markdown",
    "tune",
    "write_summary",
]
