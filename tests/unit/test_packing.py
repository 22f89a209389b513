"""Clips that one job samples in turn: how many, for how long, and what their plan says."""

import json
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from animate.cluster.cost import SLOW_START, START, WARM_START, sampling_cost
from animate.cluster.launch import seconds_left
from animate.cluster.plan import plan_clips
from animate.cluster.requests.amounts import HEADROOM, sampling_minutes, series_minutes
from animate.cluster.site import Site
from animate.cluster.work import Work
from animate.config.configuration import Configuration
from animate.config.table import read_table
from animate.demo.clips import write_demo
from animate.devices.idle import wait_as
from animate.serving.servers import Run, end_others, server_names
from animate.watch.packing import Packing

FULL = "wan2.2-animate-14b"
# Twenty segments in four steps.
LONG = Work(77 * 20, True, 1280 * 720, 77, 1, 4, 0, 1, "bf16", "bf16")
SITE = Site.of(Configuration())


def test_the_limits_of_clips_in_a_row_are_summed_with_one_load():
    one, two, five = (series_minutes([LONG] * n, 1, SITE, FULL, 1) for n in (1, 2, 5))
    assert one == sampling_minutes(LONG, 1, SITE, FULL, 1)
    warm = HEADROOM * sampling_cost(LONG, 1, SITE.gpu_speed, FULL, WARM_START).seconds / 60
    assert two - one == pytest.approx(warm, abs=1) and five - one == pytest.approx(4 * warm, abs=1)
    assert series_minutes([LONG] * 5, 1, SITE, FULL, 3) == 3 * five
    loading = series_minutes([LONG] * 5, 1, SITE, FULL, 1, warm=False)
    assert loading - five == pytest.approx(4 * HEADROOM * (SLOW_START - WARM_START) / 60, abs=1)
    assert series_minutes([LONG] * 500, 1, SITE, FULL, 1) > SITE.max_minutes


def test_a_limit_has_room_for_a_slow_disk_and_the_estimate_is_what_was_measured():
    short = replace(LONG, frames=77)
    site = Site(min_minutes=1, warning_seconds=0, gpu_speed=1)
    cost = sampling_cost(short, 1, 1.0, FULL)
    # Four steps at 1280x720, from command to file, cold: 80 s were measured.
    assert cost.seconds == pytest.approx(80, rel=0.05)
    assert 60 * sampling_minutes(short, 1, site, FULL, 1) > cost.seconds + 200


def packing(most: float, longest: float) -> Packing:
    def minutes(jobs: Sequence[int], attempt: int) -> int:
        return attempt * sum(job.minutes for job in jobs)

    return Packing(str, int, most, minutes, longest)


class Planned:
    """What a submission looks at in a job."""

    def __init__(self, minutes: int, attempt: int = 1):
        self.minutes, self.attempt = minutes, attempt


def shares(minutes: Sequence[int], most: float, longest: float, attempt: int = 1) -> list[int]:
    jobs = [Planned(each, attempt) for each in minutes]
    found = packing(most, longest).shares(jobs)
    assert [job for share in found for job in share] == jobs
    return [len(share) for share in found]


def test_a_submission_has_no_more_clips_than_said_nor_than_the_longest_limit_holds():
    assert shares([10] * 7, 3, 1000) == [3, 3, 1]
    assert shares([10] * 7, 3, 20) == [2, 2, 2, 1]
    assert shares([10] * 4, 3, 20, attempt=2) == [1, 1, 1, 1]
    # A clip that alone takes longer is stopped, and goes on in its next attempt.
    assert shares([50, 10, 10], 3, 20) == [1, 2]
    assert shares([10] * 7, math.inf, math.inf) == [7]


def test_only_the_first_of_like_clips_loads_in_the_plan(tmp_path):
    write_demo(tmp_path)
    (tmp_path / "clips.csv").write_text(
        "clip,video,reference,mode,end,seed,steps,precision\n"
        "seeds,driving.mp4,character.png,animate,1,1..4,4,bf16\n"
        "other,driving.mp4,character.png,animate,1,0,4,fp8\n"
        "more,driving.mp4,character.png,animate,1,0,4,bf16\n"
    )
    config = Configuration(results=str(tmp_path / "results"))
    table = read_table(tmp_path / "clips.csv", config)

    def loads(in_a_row: float) -> list[str]:
        lines = plan_clips(table, config.results, SITE, 1, (), in_a_row)
        costs = {line.clip: line.cost.seconds for line in lines}
        cold = max(costs[clip] for clip in costs if clip != "other")
        warm = cold - START + WARM_START
        for clip, cost in costs.items():
            assert clip == "other" or cost in (cold, pytest.approx(warm))
        return [clip for clip, cost in costs.items() if clip == "other" or cost == cold]

    seeds = ["seeds", "seeds~seed2", "seeds~seed3", "seeds~seed4"]
    assert loads(math.inf) == ["seeds", "other"]
    assert loads(2) == ["seeds", "seeds~seed3", "other", "more"]
    assert loads(1) == [*seeds, "other", "more"]


@pytest.mark.parametrize("answer", ["end", "Unknown", ""])
def test_a_job_asks_slurm_how_long_it_has(tmp_path, answer):
    if answer == "end":
        answer = datetime.fromtimestamp(time.time() + 100).isoformat(timespec="seconds")
    squeue = tmp_path / "squeue"
    squeue.write_text(f'#!/bin/sh\ntest "$3" = --jobs=7 && echo {answer}\n')
    squeue.chmod(0o755)
    left = seconds_left({"PATH": str(tmp_path), "SLURM_JOB_ID": "7"})
    assert left is None or 95 < left <= 100
    assert (left is None) == ("T" not in answer)
    assert seconds_left({"PATH": "/nowhere", "SLURM_JOB_ID": "7"}) is None


def test_a_server_of_the_run_that_has_loaded_something_else_is_told_to_end(tmp_path):
    run = Run.of(1)
    names = [server_names(tmp_path, run, key) for key in ("like", "unlike")]
    names.append(server_names(tmp_path, Run(2, 5), "unlike"))
    listeners = [wait_as(f"{name}1") for name in names]
    told = []

    def listen(number: int) -> None:
        listeners[number].settimeout(2)
        connection, _ = listeners[number].accept()
        with connection:
            told.append((number, json.loads(connection.recv(100))))

    threads = [threading.Thread(target=listen, args=[1])]
    threads[0].start()
    end_others(tmp_path, run, names[0])
    threads[0].join()
    for number in (0, 2):
        listeners[number].settimeout(0)
        with pytest.raises(BlockingIOError):
            listeners[number].accept()
    for listener in listeners:
        listener.close()
    assert told == [(1, {"end": True})]
