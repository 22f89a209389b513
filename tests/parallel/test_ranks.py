"""Several ranks under torchrun, with gloo, give what one process gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ranks

HERE = Path(ranks.__file__).parent
TIMEOUT = 240


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    ranks.write_transformer(folder)
    return folder


def torchrun(count: int, *arguments: str) -> subprocess.CompletedProcess:
    """Run a command of this folder's Python on that many ranks."""
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
    return python(*start, *arguments)


def python(*arguments: str) -> subprocess.CompletedProcess:
    """Run Python with the folders of this process."""
    folders = [*sys.path, str(HERE.parent / "unit")]
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


@pytest.mark.parametrize(
    ("count", "checks"),
    [
        (2, ("rows", "vae", "messages", "agree", "load", "widened", "golden")),
        (2, ("forward", "plans", "memory", "driven")),
        pytest.param(5, ("rows", "vae", "messages"), marks=pytest.mark.slow),
        pytest.param(3, ("rows", "vae"), marks=pytest.mark.slow),
        *(
            pytest.param(count, checks, marks=pytest.mark.slow)
            for count in (1, 4)
            for checks in (
                ("rows", "vae", "load", "golden"),
                ("forward", "plans", "memory", "driven"),
            )
        ),
    ],
)
def test_ranks_equal_one_process(model, count, checks):
    done = torchrun(count, ranks.__file__, str(model), *checks)
    assert done.returncode == 0, done.stderr[-3000:]
    for check in checks:
        assert f"{check} passed on {count} ranks" in done.stdout


def test_forty_ranks_share_fewer_rows(tmp_path):
    done = python(str(HERE / "many_ranks.py"), str(tmp_path), "40")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "rows passed on 40 ranks" in done.stdout
