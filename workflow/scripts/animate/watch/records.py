"""The jobs of a run, followed through the records that Snakemake hands to loggers."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

from animate.failure_note import FailureNote, read_note

# What Snakemake adds to each message about a job that it submitted.
HINT = (
    "For further error details see the cluster/cloud log and the log files of the involved rule(s)."
)


@dataclass(frozen=True)
class PlannedJob:
    """A job that a run has to do: its rule, its clip, "" if it has none, and its log files."""

    rule: str
    clip: str
    logs: tuple[Path, ...]


@dataclass(frozen=True)
class Fault:
    """Why a job failed: what Snakemake said of it, and the note that it wrote itself, if any.

    `number` is that of the queue, "" on this machine; `logs` are the files that may tell more.
    """

    said: str
    number: str
    logs: tuple[Path, ...]
    note: FailureNote | None = None


class RunRecords(logging.Handler):
    """Knows which jobs of a run are unfinished, and why those failed that did.

    A handler of Snakemake's logger gets the same records as a plugin of its logger interface, and
    needs no installation.

    Args:
        since: time of the run's start; notes from before are of other runs.
        on_fault: called with the numbers of the jobs that failed together, and why. Snakemake
            decides after it whether there will be another attempt.
    """

    def __init__(self, since: float, on_fault: Callable[[set[int], Fault], None]):
        super().__init__()
        self._since, self._on_fault = since, on_fault
        self.rules: frozenset[str] = frozenset()
        self.clip_count = 0
        self._jobs: dict[int, PlannedJob] = {}
        self._faults: dict[int, Fault] = {}

    def plan(self, jobs: Mapping[int, PlannedJob]) -> None:
        """Follow these jobs, by Snakemake's numbers."""
        self._jobs = dict(jobs)
        self.rules = frozenset(job.rule for job in jobs.values())
        self.clip_count = len(self.unfinished)

    @property
    def unfinished(self) -> dict[str, list[PlannedJob]]:
        """The unfinished jobs of each clip that has any."""
        found: dict[str, list[PlannedJob]] = {}
        with self.lock:
            for job in self._jobs.values():
                if job.clip:
                    found.setdefault(job.clip, []).append(job)
        return found

    @property
    def faults(self) -> dict[str, Fault]:
        """The last fault of each clip with a job that failed and was not finished since.

        Jobs of no clip are there by their rules.
        """
        with self.lock:
            return {self.name_of(number): fault for number, fault in self._faults.items()}

    def name_of(self, number: int) -> str:
        """Return the clip of a job, or its rule."""
        return self._jobs[number].clip or self._jobs[number].rule

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record; a handler's lock is held meanwhile."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_FINISHED:
            self._jobs.pop(record.job_id, None)
            self._faults.pop(record.job_id, None)
        elif event == LogEvent.GROUP_ERROR:
            number = getattr(record, "external_jobid", "")
            logs = [log for job in record.job_error_info for log in job["log"]]
            logs += record.aux_logs
            said, jobs = getattr(record, "said", ""), record.job_error_info
            self._note({job["jobid"] for job in jobs}, said, number, logs)
        # Those of a group follow it, indented, and say less.
        elif event == LogEvent.JOB_ERROR and not record.indent:
            said, number = record.rule_msg or "", record.aux.get("external_jobid", "")
            self._note({record.jobid}, said.removesuffix(HINT), number, record.log)

    def _note(self, jobs: set[int], said: str, number: Any, logs: list[str]) -> None:
        paths = tuple(map(Path, filter(None, logs)))
        notes = ((path, read_note(path, self._since)) for path in paths)
        # Of a group, Snakemake names the log files of all jobs; one of them has failed.
        failed, note = next((found for found in notes if found[1]), (None, None))
        fault = Fault(said.strip(), str(number), (failed,) if failed else paths, note)
        if known := jobs & self._jobs.keys():
            for job in known:
                # The last one comes last.
                self._faults.pop(job, None)
                self._faults[job] = fault
            self._on_fault(known, fault)
