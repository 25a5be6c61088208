"""The faithfulness benchmark: configuration → plan of hashed units → records → verdicts."""

from xai.bench.compare import RunPair, compare_runs
from xai.bench.config import BenchmarkConfig, json_schema
from xai.bench.context import Context
from xai.bench.engines import RayOptions
from xai.bench.estimate import Estimate, estimate
from xai.bench.markdown import to_markdown, write_summary
from xai.bench.page import page_of_run
from xai.bench.plan import Plan, Unit, make_plan
from xai.bench.prepared import Exclusion
from xai.bench.reading import read_benchmark
from xai.bench.results import Summary
from xai.bench.runner import Progress, RunResult, run_benchmark
from xai.bench.starter import starter_config
from xai.bench.status import Status, status
from xai.bench.store import export, read_records, read_run
from xai.bench.summary import summarise
from xai.bench.tuning import Tuning, method_config, tune
from xai.bench.unit import run_unit

__all__ = [
    "BenchmarkConfig",
    "Context",
    "Estimate",
    "Exclusion",
    "Plan",
    "Progress",
    "RayOptions",
    "RunPair",
    "RunResult",
    "Status",
    "Summary",
    "Tuning",
    "Unit",
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
    "run_unit",
    "starter_config",
    "status",
    "summarise",
    "to_markdown",
    "tune",
    "write_summary",
]
