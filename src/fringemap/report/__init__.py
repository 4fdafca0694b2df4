"""How results look: tables, maps, figures and pages."""

from fringemap.report.results import ResultsWriter, Written, open_results, write_results
from fringemap.report.run import write_index, write_run_json
from fringemap.report.tables import Failure, write_errors_csv, write_summary_csv

__all__ = [
    "Failure",
    "ResultsWriter",
    "Written",
    "open_results",
    "write_errors_csv",
    "write_index",
    "write_results",
    "write_run_json",
    "write_summary_csv",
]
