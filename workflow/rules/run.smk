"""Around a run: its note for `recover`, its progress over all clips, and why clips failed.

Beside the scheduler, a thread reports the progress and ends jobs that can never start.
"""

import threading
import time

from animate.cluster.overview import find_failures, overview
from animate.cluster.queue import cancel_hopeless
from animate.cluster.recovery import forget_run, note_run
from animate.errors import ClipError

RUN_NOTE = Path(LOGS, "run.json")
REPORT_SECONDS = 60
STARTED = time.time()


def unfinished_jobs():
    """Return the unfinished jobs of each clip that this run works on."""
    found = {}
    for job in list(workflow.dag.needrun_jobs()):
        if clip := job.wildcards_dict.get("clip"):
            found.setdefault(clip, []).append(job)
    return found


def watch_run():
    """Once a minute, say where all clips are, if that has changed, and end hopeless jobs."""
    total, said, told = len(unfinished_jobs()), None, set()
    while True:
        time.sleep(REPORT_SECONDS)
        end_hopeless_jobs(told)
        logs = {clip: Path(LOGS, "sample", f"{clip}.log") for clip in unfinished_jobs()}
        line = overview(logs, total, STARTED)
        if line != said:
            logger.info(line)
        said = line


def end_hopeless_jobs(told):
    """Cancel what SLURM keeps though it can never start; `told`: clips of which that was said."""
    # Without an answer of SLURM, the next look will do.
    with contextlib.suppress(ClipError):
        for job in cancel_hopeless(Path.cwd()):
            if job.clip not in told:
                logger.error(str(job))
                told.add(job.clip)


def summarise_failures(consoles):
    console = "".join(Path(file).read_text("utf-8") for file in consoles)
    logs = {
        clip: [Path(log) for job in jobs for log in job.log]
        for clip, jobs in unfinished_jobs().items()
    }
    failures = find_failures(console, logs, STARTED)
    if failures:
        lines = "\n".join(map(str, failures))
        logger.error(
            f"{len(failures)} of {len(CLIPS)} clips failed,"
            f" {len(logs) - len(failures)} more are not finished; the same command goes on:\n{lines}"
        )


def end_run():
    forget_run(RUN_NOTE)
    if any(job.rule.name == "provenance" for job in workflow.dag.jobs):
        shell(
            'python "$SCRIPTS"/manifest.py --config {CONFIG_TEXT:q}'
            " --log {LOGS:q}/manifest.log --output {RESULTS:q}/manifest.json"
        )


onstart:
    restore_weights()
    # A tool that runs beside a run, as `recover --nolock` does, must not take its place.
    if workflow.execution_settings.lock:
        note_run(RUN_NOTE)
    if not workflow.local_exec:
        threading.Thread(target=watch_run, daemon=True).start()


onsuccess:
    end_run()


onerror:
    summarise_failures(log)
    end_run()
