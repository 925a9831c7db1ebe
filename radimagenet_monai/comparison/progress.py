"""Progress of a running comparison: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from radimagenet_monai.comparison.jobs import EVALUATION_FOLDER, FAILED, FINISHED, RUNS_FOLDER
from radimagenet_monai.comparison.plan import Plan, Run
from radimagenet_monai.core.atomic import read_json_if_whole

_LOG_OF_TRAINING = Path("output") / "run.json"


class ComparisonProgress:
    """Counts results and shows them by architecture and initialization.

    Parameters
    ----------
    plan
        The comparison.
    out
        Folder of the comparison, where unfinished runs are found.
    """

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan = plan
        self.out = out
        self.runs = {run.id: run for run in plan.runs()}
        self.results: dict[str, str] = {}
        self.values: dict[str, float] = {}
        self.console = Console()
        self._started = time.monotonic()
        self._done_before = 0

    def note(self, result: Mapping[str, Any], before: bool = False) -> None:
        """Count a result; ``before`` marks one from an earlier start."""
        run = self.runs[result["id"]]
        self.results[run.id] = result["status"]
        value = measured_value(self.out / RUNS_FOLDER / run.id) if result["status"] == FINISHED else None
        if value is not None:
            self.values[run.id] = value
        self._done_before += before
        if before or self.console.is_terminal:
            return
        words = f"AUC {value:.3f}" if value is not None else result["problem"] or "AUC not estimable"
        seconds = f", {result['seconds']:.0f} s" if result["seconds"] is not None else ""
        self.console.print(f"  [{len(self.results)}/{len(self.runs)}] {run.id}: {words}{seconds}", soft_wrap=True)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table for as long as the context lasts."""
        if not self.console.is_terminal:
            yield
            return
        with Live(self, console=self.console, refresh_per_second=1):
            yield

    def __rich__(self) -> Table:
        done = len(self.results)
        table = Table(
            title=f"{self.plan.task}: {done} of {len(self.runs)} runs{self._remaining()}", title_justify="left"
        )
        for name in ("architecture", "initialization", "finished", "failed", "running", "mean AUC so far"):
            table.add_column(name, justify="left" if name in ("architecture", "initialization") else "right")
        for (architecture, name), runs in self._groups().items():
            ids = [run.id for run in runs]
            values = [self.values[run] for run in ids if run in self.values]
            table.add_row(
                architecture,
                name,
                f"{sum(self.results.get(run) == FINISHED for run in ids)}/{len(ids)}",
                str(sum(self.results.get(run) == FAILED for run in ids) or ""),
                ", ".join(self._running(run) for run in ids if run not in self.results and self._running(run)),
                f"{sum(values) / len(values):.3f}" if values else "",
            )
        return table

    def _groups(self) -> dict[tuple[str, str], list[Run]]:
        groups: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs.values():
            groups.setdefault((run.architecture, run.initialization), []).append(run)
        return groups

    def _running(self, run_id: str) -> str:
        """``3/6`` epochs of an unfinished run."""
        facts = read_json_if_whole(self.out / RUNS_FOLDER / run_id / _LOG_OF_TRAINING)
        return f"{facts.get('epochs', 0)}/{self.plan.epochs}" if facts.get("status") == "running" else ""

    def _remaining(self) -> str:
        new = len(self.results) - self._done_before
        left = len(self.runs) - len(self.results)
        if not new or not left:
            return ""
        return f", about {(time.monotonic() - self._started) / new * left / 60:.0f} min left"


def measured_value(folder: Path) -> float | None:
    """The AUC from a run's own evaluation; the final value comes from the analysis."""
    metrics = read_json_if_whole(folder / EVALUATION_FOLDER / "evaluation.json").get("metrics", {})
    findings: Sequence[Any] = list(metrics.get("findings", {}).values())
    auc = (findings[0] if findings else metrics).get("auc") or metrics.get("auc_macro")
    return auc.get("auc") if isinstance(auc, dict) else auc
