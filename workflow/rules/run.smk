"""Around a run: its note for `recover`, its progress over all clips, and why clips failed.

Beside the scheduler, a thread reports the progress, ends jobs that can never start and puts
pre-empted ones back into the queue.
"""

import threading
import time

from animate.cluster.hopeless import cancel_hopeless, hopeless_jobs
from animate.cluster.overview import find_failures, overview
from animate.cluster.queue import jobs_of, requeue_preempted, waiting
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
    """Look after the run once a minute, beside the scheduler."""
    total, said, told, doubtful = len(unfinished_jobs()), None, set(), set()
    while True:
        time.sleep(REPORT_SECONDS)
        queue = []
        # Without an answer of SLURM, the next look will do.
        with contextlib.suppress(ClipError):
            queue = jobs_of(Path.cwd())
            requeue_preempted(Path.cwd(), STARTED)
        # SLURM's reasons change: only what two looks find is believed.
        hopeless = hopeless_jobs(queue)
        end_hopeless_jobs(hopeless & doubtful, told)
        doubtful = hopeless
        logs = {clip: Path(LOGS, "sample", f"{clip}.log") for clip in unfinished_jobs()}
        line = ", ".join(filter(None, [overview(logs, total, STARTED), waiting(queue)]))
        if line != said:
            logger.info(line)
        said = line


def end_hopeless_jobs(jobs, told):
    """Cancel jobs that can never start; `told`: clips of which that was said."""
    for job in cancel_hopeless(jobs):
        if job.clip not in told:
            logger.error(str(job))
            told.add(job.clip)


def fail_unsubmitted_jobs():
    """Have a job fail when its submission does: the plugin would wait for it without a word."""
    from snakemake_executor_plugin_slurm import Executor
    from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

    submit = Executor.run_job

    def run_job(executor, job):
        try:
            submit(executor, job)
        except Exception as error:
            info = SubmittedJobInfo(job)
            executor._report_job_error_threadsafe(info, f"not submitted: {error}")

    Executor.run_job = run_job


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
        fail_unsubmitted_jobs()
        threading.Thread(target=watch_run, daemon=True).start()


onsuccess:
    end_run()


onerror:
    summarise_failures(log)
    end_run()
