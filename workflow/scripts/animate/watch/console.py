"""What a run shows on the console: a line for each stage that starts, not a block for each job.

Snakemake's blocks stay in its own log file.
"""

import logging
import re
import time
from collections.abc import Callable

from snakemake_interface_logger_plugins.common import LogEvent

BLOCKS = {
    LogEvent.JOB_INFO,
    LogEvent.JOB_STARTED,
    LogEvent.JOB_FINISHED,
    LogEvent.JOB_ERROR,
    LogEvent.GROUP_INFO,
    LogEvent.GROUP_ERROR,
    LogEvent.PROGRESS,
}
# Messages that say of each job again what a line or a failure says.
REPEATED = re.compile(
    r"Select jobs to execute|Trying to restart job|Removing output files of failed job"
    r"|Job \S+ has been submitted with SLURM jobid|RuleException:\nCalledProcessError"
    r"|Touching output file|Removing temporary output"
)


def leave_out_blocks(logger: logging.Logger) -> None:
    """Have the logger's handlers that write to the console, and not to files, pass over blocks."""
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler
        ):
            handler.addFilter(_is_for_the_console)


def _is_for_the_console(record: logging.LogRecord) -> bool:
    is_block = getattr(record, "event", None) in BLOCKS
    return not is_block and not REPEATED.match(str(record.msg))


class StageLines(logging.Handler):
    """Says of each stage that starts its clip, and how much of the whole run is done by then."""

    def __init__(self, say: Callable[[str], None]):
        super().__init__()
        self._say, self._done = say, 0

    def emit(self, record: logging.LogRecord) -> None:
        """Take one of Snakemake's records; a group of jobs is one stage."""
        event = getattr(record, "event", None)
        if event == LogEvent.PROGRESS:
            self._done = 100 * record.done // record.total
        elif event == LogEvent.GROUP_INFO:
            # Groups are named GROUP:CLIP: in the rules.
            stage, _, clip = record.group_id.partition(":")
            self._tell(clip.rstrip(":"), stage)
        # A job that runs nothing only waits for others.
        elif event == LogEvent.JOB_INFO and record.shellcmd and not record.indent:
            self._tell(record.wildcards.get("clip", ""), record.rule_name)

    def _tell(self, clip: str, stage: str) -> None:
        what = f"clip {clip}: {stage}" if clip else stage
        self._say(f"{time.strftime('%H:%M:%S')} {self._done:3}% done, {what}")
