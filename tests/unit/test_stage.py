"""How a script fails: one line on the console, everything in the log, no traceback for users."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
SCRIPT = """
import os
from animate.errors import ClipError
from animate.stage import run_stage, stage_parser

def main(args):
    os.write(2, b"native noise\\n")
    {body}

run_stage(main, stage_parser("test"))
"""


@pytest.fixture
def run(tmp_path):
    def run_script(body, *options):
        command = [sys.executable, "-c", SCRIPT.format(body=body), "--clip", "dance", *options]
        environment = {"PYTHONPATH": str(SCRIPTS), "PATH": ""}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run_script


def test_a_users_mistake_is_one_line_on_the_console(run, tmp_path):
    log = tmp_path / "logs" / "stage.log"
    done = run("raise ClipError('video x.mp4 is\\n cut off')", "--log", str(log))
    assert done.returncode == 1
    assert done.stderr == "clip dance: video x.mp4 is cut off\n"
    assert "native noise" in log.read_text() and "cut off" in log.read_text()


def test_a_defect_keeps_its_traceback_in_the_log(run, tmp_path):
    done = run("1 / 0", "--log", str(tmp_path / "log"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "ZeroDivisionError" in done.stderr
    assert "Traceback" in (tmp_path / "log").read_text()


def test_without_a_log_the_line_stands_once(run):
    done = run("raise ClipError('no person')")
    assert done.stderr.count("clip dance: no person") == 1


def test_what_is_told_is_on_the_console(run, tmp_path):
    done = run("from animate.stage import tell; tell('320 x 180')", "--log", f"{tmp_path}/log")
    assert (done.returncode, done.stderr) == (0, "clip dance: 320 x 180\n")
    assert "320 x 180" in (tmp_path / "log").read_text()


def test_a_warning_is_one_line_on_the_console_too_and_the_stage_goes_on(run, tmp_path):
    done = run("from animate.stage import warn; warn('nobody is seen')", "--log", f"{tmp_path}/log")
    assert (done.returncode, done.stderr) == (0, "clip dance: warning: nobody is seen\n")
    assert "nobody is seen" in (tmp_path / "log").read_text()
    assert run("from animate.stage import warn; warn('nobody')").stderr.count("nobody") == 1


def test_success_is_silent(run, tmp_path):
    done = run("pass", "--log", str(tmp_path / "log"))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
