"""Around a run: its note for `recover`, its progress over all clips, and why clips failed."""

import threading
import time

from animate.cluster.overview import find_failures, overview
from animate.cluster.recovery import forget_run, note_run

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


def report_progress():
    """Say where all clips are, whenever that has changed; runs beside the scheduler."""
    total, said = len(unfinished_jobs()), None
    while True:
        time.sleep(REPORT_SECONDS)
        logs = {clip: Path(LOGS, "sample", f"{clip}.log") for clip in unfinished_jobs()}
        line = overview(logs, total, STARTED)
        if line != said:
            logger.info(line)
        said = line


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
        threading.Thread(target=report_progress, daemon=True).start()


onsuccess:
    end_run()


onerror:
    summarise_failures(log)
    end_run()
