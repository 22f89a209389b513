"""Around a run: its note for `recover`, what the console shows of it, and why clips failed.

Beside the scheduler, a thread reports the progress. On SLURM it also ends jobs that can never start
and puts pre-empted ones back into the queue.
"""

import threading
import time
from functools import partial
from importlib.util import find_spec

from animate.cluster.hopeless import cancel_hopeless, hopeless_jobs
from animate.cluster.queue import jobs_of, requeue_preempted, waiting
from animate.cluster.recovery import forget_run, note_run
from animate.cluster.submit import use_patient_sbatch
from animate.failure_note import FailureNote, write_note
from animate.watch.ancient import ask_behind_ancient_files
from animate.watch.console import StageLines, leave_out_blocks
from animate.watch.failures import failure_of, failures, waiting_clips
from animate.watch.overview import overview
from animate.watch.records import PlannedJob, RunRecords
from animate.watch.submission import fail_unsubmitted_jobs

RUN_NOTE = Path(LOGS, "run.json")
REPORT_SECONDS = 60
STARTED = time.time()
READERS_OF_WEIGHTS = {
    "prepare",
    "prompt",
    "prompt_as_given",
    "reference_features",
    "driving_features",
    "sample",
    "keypoints",
    "reference_keypoints",
    "edit_prompts",
    "edit_reference",
    "edit_driver",
    "edited_pose",
    "person_mask",
    "excluded_mask",
}
# Jobs that were cancelled because they could never start, by their numbers in the queue.
HOPELESS = {}


ask_behind_ancient_files()


def on_fault(numbers, fault):
    """Say why jobs failed, and have no attempt follow that would meet the same mistake."""
    running = set(workflow.scheduler.running)
    job = next(job for job in running if numbers & numbers_of(job))
    if job.is_group() and PACKS and all(map(alike, job.jobs)):
        # Clips of one job do not fail together.
        job = next(one for one in job.jobs if one.jobid in numbers)
    if fault.number in HOPELESS or (fault.note and fault.note.final):
        job.attempt = job.restart_times + 1
    again = job.attempt <= job.restart_times
    # On this machine, a job that left a note has said the same on the console.
    if again or fault.number or not fault.note:
        found = failure_of(RECORDS.name_of(min(numbers)), fault, reasons(), STARTED)
        logger.error(f"{found}; it is tried again" if again else str(found))


def numbers_of(job):
    """Return Snakemake's numbers of a job, or of those of a group."""
    return {one.jobid for one in (job.jobs if job.is_group() else [job])}


def reasons():
    return {number: found.reason for number, found in HOPELESS.items()}


RECORDS = RunRecords(STARTED, on_fault)


def planned_jobs():
    """Return the jobs of this run, by Snakemake's numbers."""
    return {
        job.jobid: PlannedJob(
            job.rule.name, job.wildcards_dict.get("clip", ""), tuple(map(Path, job.log))
        )
        for job in workflow.dag.needrun_jobs()
    }


def restore_weights():
    """Before jobs that read weights: check the headers, fetch what vanished from the cache."""
    if not READERS_OF_WEIGHTS & RECORDS.rules:
        return
    # With --sdm conda Snakemake itself may have none of the packages.
    if find_spec("huggingface_hub") is None:
        logger.warning("the weights are not checked: run snakemake download")
        return
    for name, parts in NEEDED_PARTS.items():
        # A folder without it is yet to be made by a job.
        if os.path.exists(f"{MODELS}/{name}/sources.json"):
            # What was converted is no longer read.
            need = need_text(name, [n for n, p in parts.items() if not p.convert])
            log = f"{LOGS}/restore/{name}.log"
            shell(
                'python "$SCRIPTS"/download_model.py {MODEL_OPTIONS} --needs {need:q} --log {log:q}'
            )


def watch_run():
    """Look after the run once a minute, beside the scheduler."""
    said, doubtful = None, set()
    while True:
        time.sleep(REPORT_SECONDS)
        queue = look_after_queue() if submits_to_slurm() else []
        # SLURM's reasons change: only what two looks find is believed.
        hopeless = hopeless_jobs(queue)
        end_hopeless_jobs(hopeless & doubtful)
        doubtful = hopeless
        line = overview(RECORDS.unfinished, RECORDS.clip_count, STARTED)
        seen = line, waiting(queue)
        if seen != said:
            logger.info(", ".join(filter(None, seen)))
        said = seen


def look_after_queue():
    """Put pre-empted jobs back into SLURM's queue; return those that wait or run."""
    # Without an answer of SLURM, the next look will do.
    with contextlib.suppress(ClipError):
        requeue_preempted(Path.cwd(), STARTED)
        return jobs_of(Path.cwd())
    return []


def end_hopeless_jobs(jobs):
    """Cancel jobs that can never start, and say so once a clip."""
    told = {found.job.clip for found in HOPELESS.values()}
    for found in cancel_hopeless(jobs):
        HOPELESS[found.job.number] = found
        if found.job.clip not in told:
            logger.error(str(found))
            told.add(found.job.clip)


def summarise_failures():
    found = failures(RECORDS.faults, reasons(), STARTED)
    if found:
        failed = RECORDS.faults.keys() & CLIPS.keys()
        sources = {
            name: [other.name for other in clip.awaited.values()]
            for name, clip in CLIPS.items()
        }
        waits = waiting_clips(RECORDS.unfinished, sources)
        found += [
            f"{name}: waits for {other}, whose result it takes"
            for name, other in waits.items()
            if name not in failed
        ]
        lines = "\n".join(f"  {failure}" for failure in found)
        logger.error(
            f"{len(failed)} of {len(CLIPS)} clips failed,"
            f" {len(RECORDS.unfinished) - len(failed)} more are not finished; the same command goes on:"
            f"\n{lines}"
        )


def note_failures():
    """Keep what Snakemake or SLURM said of jobs that could not tell it: pages show it later."""
    for fault in RECORDS.faults.values():
        if fault.logs and not fault.note:
            found = failure_of("", fault, reasons(), STARTED)
            write_note(
                found.log or fault.logs[0],
                FailureNote(found.reason or "failed", final=False),
            )


def end_run():
    # A tool that runs beside a run has left no note, and must not remove that of the run.
    if workflow.execution_settings.lock:
        forget_run(RUN_NOTE)
    if RECORDS.rules & {"provenance", "page", "verdict"}:
        shell(
            'python "$SCRIPTS"/manifest.py --config {CONFIG_TEXT:q}'
            " --log {LOGS:q}/manifest.log --output {MANIFEST:q} --table {MANIFEST_TABLE:q}"
        )
    if RECORDS.clip_count:
        # What goes wrong is said, and spoils no run.
        shell(
            'python "$SCRIPTS"/gallery.py --config {CONFIG_TEXT:q} --run {RUN_NOTE:q}'
            " --log {LOGS:q}/gallery.log || true"
        )


onstart:
    remote = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    if remote and submits_to_slurm():
        try:
            use_patient_sbatch(os.environ)
        except ClipError as error:
            logger.error(str(error))
            sys.exit(1)
        fail_unsubmitted_jobs()
    RECORDS.plan(planned_jobs())
    logger.addHandler(RECORDS)
    if not workflow.output_settings.verbose:
        leave_out_blocks(logger)
        # Not by the logger: its handlers would wait for each other.
        logger.addHandler(StageLines(partial(print, file=sys.stderr, flush=True)))
    restore_weights()
    # A tool that runs beside a run, as `recover --nolock` does, must not take its place.
    if workflow.execution_settings.lock:
        note_run(RUN_NOTE)
    threading.Thread(target=watch_run, daemon=True).start()


onsuccess:
    end_run()


onerror:
    summarise_failures()
    note_failures()
    end_run()
