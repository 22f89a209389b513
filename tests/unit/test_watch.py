"""What is said of a run while it runs, and why clips failed, from Snakemake's own records."""

import io
import logging
import os
from pathlib import Path

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from animate.errors import ClipError, MachineError
from animate.failure_note import (
    FailureNote,
    log_of_sampler,
    note_of,
    read_note,
    remove_note,
    write_note,
)
from animate.sampling.progress import Progress, Sampled, read_progress
from animate.watch.console import StageLines, leave_out_blocks
from animate.watch.failures import Failure, failures, waiting_clips
from animate.watch.overview import overview
from animate.watch.records import HINT, Fault, PlannedJob, RunRecords


@pytest.fixture
def log(tmp_path):
    """The log file of a clip whose sampler has told of three steps, a second each."""
    seconds = iter(range(10))
    progress = Progress("a.b", tmp_path / "a.b.log", clock=lambda: next(seconds))
    progress.plan(segments=3, finished=0, steps=20)
    for step in (1, 2, 3):
        progress.step(0, step)
    return tmp_path / "a.b.log"


def test_the_sampler_writes_how_far_it_is(log):
    assert read_progress(log, since=0) == Sampled(1, 3, 3, 20, 17 + 2 * 20)
    assert sorted(path.name for path in log.parent.iterdir()) == ["a.b.log", "a.b.progress.json"]
    written = log.with_name("a.b.progress.json").stat().st_mtime
    assert read_progress(log, since=written + 1) is None, "that of an earlier run"
    assert read_progress(log.with_name("other.log"), since=0) is None
    log.with_name("a.b.progress.json").write_text('{"segment": 1}')
    assert read_progress(log, since=0) is None, "that of another version"


def test_only_the_rank_that_speaks_writes_it(tmp_path):
    progress = Progress("a", tmp_path / "a.log", quiet=True)
    progress.plan(1, 0, 1)
    progress.step(0, 1)
    assert not list(tmp_path.iterdir())


def test_overview_of_all_clips(log):
    jobs = {
        "a.b": [PlannedJob("sample", "a.b", (log,))],
        "b": [PlannedJob("mux", "b", (Path("none.log"),))],
    }
    line = overview(jobs, 5, since=0)
    assert line == "clips: 3 of 5 finished, 1 sampling: a.b segment 1/3 step 3/20 about 57 s left"
    assert overview(jobs, 5, since=log.stat().st_mtime + 9) == "clips: 3 of 5 finished"
    many = {f"c{n}": [PlannedJob("sample", f"c{n}", (log,))] for n in range(7)}
    assert overview(many, 7, since=0).endswith("c4 segment 1/3 step 3/20 about 57 s left; 2 more")


@pytest.fixture
def records():
    """The records of a run of four jobs, which a logger hands over as Snakemake's does."""
    told = []
    found = RunRecords(since=0, on_fault=lambda jobs, fault: told.append((jobs, fault)))
    found.told = told
    found.plan(
        {
            0: PlannedJob("all", "", ()),
            1: PlannedJob("sample", "a", (Path("a.log"),)),
            2: PlannedJob("mux", "a", (Path("mux/a.log"),)),
            3: PlannedJob("preview", "b", (Path("b.log"),)),
        }
    )
    logger = logging.Logger("snakemake")
    logger.addHandler(found)
    found.say = lambda event, **extra: logger.error("", extra={"event": event, **extra})
    return found


def fail(records, job, said=None, number=None, indent=False, logs=()):
    aux = {} if number is None else {"external_jobid": number}
    records.say(
        LogEvent.JOB_ERROR, jobid=job, rule_msg=said, log=list(logs), aux=aux, indent=indent
    )


def test_records_tell_what_is_finished(records):
    assert (records.clip_count, records.rules) == (2, {"all", "sample", "mux", "preview"})
    records.say(LogEvent.JOB_FINISHED, job_id=1)
    assert [job.rule for job in records.unfinished["a"]] == ["mux"]
    records.say(LogEvent.JOB_FINISHED, job_id=2)
    assert records.unfinished.keys() == {"b"} and records.clip_count == 2


def test_records_tell_why_a_clip_failed(records):
    fail(records, 1, "SLURM-job '7' failed." + HINT, "7", logs=["a.log", None, "7.log"])
    paths = (Path("a.log"), Path("7.log"))
    assert records.faults == {"a": Fault("SLURM-job '7' failed.", "7", paths)}
    fail(records, 1, "SLURM-job '8' failed.", "8")
    assert records.faults["a"].number == "8", "the next attempt"
    records.say(LogEvent.JOB_FINISHED, job_id=1)
    assert records.faults == {}, "an attempt went well"


def test_a_group_fails_as_a_whole(records):
    jobs = [{"jobid": 2, "log": ["mux/a.log"]}, {"jobid": 99, "log": ["other.log"]}]
    records.say(LogEvent.GROUP_ERROR, job_error_info=jobs, aux_logs=["9.log"], external_jobid="9")
    fail(records, 2, indent=True)
    logs = Path("mux/a.log"), Path("other.log"), Path("9.log")
    assert records.faults == {"a": Fault("", "9", logs)}
    assert records.told == [({2}, records.faults["a"])], "once, and of known jobs only"
    records.say(LogEvent.GROUP_ERROR, job_error_info=jobs, aux_logs=[], said="not submitted: why")
    assert records.faults["a"].said == "not submitted: why"


def test_a_job_tells_by_a_note_why_it_failed(records, tmp_path):
    notes = []
    for name, error in (
        ("a", ClipError("no\n person")),
        ("b", MachineError("GPU")),
        ("c", KeyError(1)),
    ):
        log = tmp_path / f"{name}.log"
        write_note(log, note_of(error))
        fail(records, 0, logs=[log])
        notes.append(records.faults["all"].note)
    assert notes == [
        FailureNote("no person", True),
        FailureNote("GPU", False),
        FailureNote("KeyError: 1", False),
    ]
    assert read_note(log, since=log.with_suffix(".failure.json").stat().st_mtime + 1) is None
    remove_note(log)
    assert read_note(log, since=0) is None
    settings = tmp_path / "sampled.json"
    assert log_of_sampler(settings) is None
    settings.write_text('{"progress": "x.log"}')
    assert log_of_sampler(settings) == Path("x.log")


def test_a_failure_shows_the_end_of_what_was_written_last(tmp_path):
    first, last, old = (tmp_path / name for name in ("first", "last", "old"))
    for time, path in enumerate((old, first, last)):
        path.write_text("one\n\ntwo\nthree\nfour\n")
        os.utime(path, (time, time))
    said = "SLURM status is: 'TIMEOUT'"
    fault = Fault(said, "7", (first, last, old, tmp_path / "none"))
    (failure,) = failures({"a": fault}, {}, since=1)
    assert failure == Failure("a", said, last, ["two", "three", "four"])
    assert str(failure) == f"a: {said}; end of {last}:\n    two\n    three\n    four"
    (failure,) = failures({"a": Fault("", "", (old,))}, {}, since=1)
    assert str(failure) == "a: failed"
    told = Fault(said, "7", (last,), FailureNote("no person", True))
    (failure,) = failures({"a": told}, {}, since=1)
    assert str(failure) == f"a: no person; see {last}"


def test_the_console_has_a_line_for_each_stage_and_no_blocks():
    logger, said = logging.Logger("snakemake"), io.StringIO()
    logger.addHandler(logging.StreamHandler(said))
    leave_out_blocks(logger)
    logger.addHandler(StageLines(logger.info))
    one = {"wildcards": {"clip": "a"}, "rule_name": "sample", "shellcmd": "x"}
    for text, event, extra in (
        ("Select jobs to execute...", None, {}),
        ("block", LogEvent.GROUP_INFO, {"group_id": "prepare:b.c:"}),
        ("block", LogEvent.JOB_INFO, one | {"indent": True}),
        ("block", LogEvent.PROGRESS, {"done": 2, "total": 3}),
        ("block", LogEvent.JOB_INFO, one | {"indent": False}),
        ("block", LogEvent.JOB_INFO, {"wildcards": {}, "rule_name": "all", "shellcmd": None}),
        ("block", LogEvent.JOB_ERROR, {}),
        ("Will exit after finishing currently running jobs", None, {}),
    ):
        logger.info(text, extra={"event": event, "indent": False} | extra)
    prepare, sample, last = said.getvalue().splitlines()
    assert prepare.endswith("   0% done, clip b.c: prepare")
    assert sample.endswith("  66% done, clip a: sample") and last.startswith("Will exit")


def test_a_hopeless_clip_fails_with_the_reason_slurm_gave():
    hopeless = {"7": "can never start (BadConstraints)"}
    faults = {"a": Fault("CANCELLED", "7", ()), "b": Fault("TIMEOUT", "8", ())}
    assert [f.reason for f in failures(faults, hopeless, 0)] == [hopeless["7"], "TIMEOUT"]


def test_a_clip_waits_for_the_one_whose_frames_are_not_made():
    made, later = PlannedJob("page", "dance", ()), PlannedJob("timeline", "swap", ())
    making = PlannedJob("intermediate", "dance", ())
    sources = {"swap": ["other", "dance"], "dance": []}
    waits = waiting_clips({"dance": [making, made], "swap": [later]}, sources)
    assert waits == {"swap": "dance"}
    assert waiting_clips({"dance": [made], "swap": [later]}, sources) == {}
    assert waiting_clips({"dance": [making]}, sources) == {}
