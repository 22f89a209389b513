"""What the launcher sets for the ranks of a job."""

import json
import os

import pytest

from launch_sampler import rank_environment


@pytest.fixture
def job(tmp_path):
    (tmp_path / "models").mkdir()
    path = tmp_path / "sampled.json"
    path.write_text(json.dumps({"model": str(tmp_path / "models" / "wan")}))
    return path


def test_ranks_share_the_threads_of_the_job(job):
    given = {"OMP_NUM_THREADS": "4"}
    threads = [rank_environment(given, ranks, job)["OMP_NUM_THREADS"] for ranks in (1, 2, 8)]
    assert threads == ["4", "2", "1"]
    assert rank_environment({}, 1, job)["OMP_NUM_THREADS"] == str(os.cpu_count())


def test_compiled_code_is_kept_beside_the_models(job):
    kept = rank_environment({}, 1, job)["TORCHINDUCTOR_CACHE_DIR"]
    assert kept == str(job.parent / "models" / ".compiled")
    assert "TORCHINDUCTOR_CACHE_DIR" not in rank_environment(
        {"TORCHINDUCTOR_CACHE_DIR": "elsewhere"}, 1, job
    )
    job.write_text("no json")
    assert "TORCHINDUCTOR_CACHE_DIR" not in rank_environment({}, 1, job)
