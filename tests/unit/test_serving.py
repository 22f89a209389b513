"""What two clips must share to use the same ranks, and how their jobs find those."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from animate.devices.idle import wait_as, waiting
from animate.serving.jobs import ServerWaits, sample_by_server
from animate.serving.loaded import loaded_key
from animate.serving.messages import TAKEN, receive, send
from animate.serving.servers import Run, server_names
from sampler_clip import change_settings, write_clip, write_model

RANKS = ["run_ranks.py", "--nproc-per-node=1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def change_job(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_is_loaded_counts_and_nothing_else(model, tmp_path):
    def key(name, mode="animate", ranks=RANKS, **settings):
        path = write_clip(tmp_path / name, model, 5, mode, **settings)
        return loaded_key(path, ranks)

    plain = key("plain")
    assert key("others", steps=3, seed=1, guidance_scale=2.0, segment_frames=9) == plain
    assert key("unlit", "replace", relighting_lora=False) == plain
    lora = model / "relighting_lora.ckpt"
    changed = [
        key("lit", "replace"),
        key("fp8", precision="fp8"),
        key("vae", vae_precision="fp32"),
        key("lora", loras=[{"path": str(lora), "weight": 0.5}]),
        key("weight", loras=[{"path": str(lora), "weight": 0.6}]),
        key("two", ranks=["run_ranks.py", "--nproc-per-node=2"]),
    ]
    assert len({plain, *changed}) == 7
    path = write_clip(tmp_path / "weights", model, 5)
    weights = next((model / "transformer").glob("*.safetensors"))
    os.utime(weights)
    weights.write_bytes(weights.read_bytes() + b" ")
    assert loaded_key(path, RANKS) != plain


@pytest.mark.parametrize("fault", ["no JSON", "no LoRA", "no settings"])
def test_what_cannot_be_read_is_the_samplers_to_say(model, tmp_path, fault):
    path = write_clip(tmp_path / "clip", model, 5)
    if fault == "no JSON":
        path.write_text("{")
    elif fault == "no LoRA":
        change_settings(path, loras=[{"path": str(tmp_path / "missing")}])
    else:
        change_job(path, settings=None)
    assert loaded_key(path, RANKS) is None


def test_a_job_takes_the_server_that_becomes_free_while_it_waits_for_a_gpu(tmp_path):
    names = server_names(tmp_path, Run.of(os.getpid()), "key")
    seen = []

    def serve():
        with wait_as(f"{names}1") as listener, listener.accept()[0] as job:
            order, files = receive(job)
            seen.append((order["settings"], len(files)))
            for file in files:
                os.close(file)
            send(job, TAKEN)
            send(job, {"status": 0})

    server = threading.Thread(target=serve)

    def start():
        server.start()
        while not waiting(names):
            time.sleep(0.01)
        raise ServerWaits

    settings = tmp_path / "settings.json"
    assert sample_by_server(settings, names, start, print) == {"status": 0}
    server.join()
    assert seen == [(str(settings), 2)]


def test_a_run_that_has_ended_is_not_alive():
    run = Run.of(os.getpid())
    assert run.alive and not Run(run.pid, run.started + 1).alive
    child = os.fork()
    if not child:
        os._exit(0)
    time.sleep(0.1)
    # Nobody has asked how it ended yet.
    assert not Run.of(child).alive
    os.waitpid(child, 0)
