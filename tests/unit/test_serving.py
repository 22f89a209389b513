"""What two clips must share to use the same ranks, and how their jobs find those."""

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from animate.devices.idle import end_idle_while, reach, wait_as, waiting
from animate.devices.leases import lease
from animate.devices.machine import machine_of
from animate.devices.world import ALONE
from animate.errors import MemoryShort
from animate.failure_note import Told
from animate.parallel import build
from animate.parallel.plan import GIB, Workload
from animate.sampling import models
from animate.serving import jobs
from animate.serving.clips import serve
from animate.serving.jobs import ServerWaits, sample_by_server, start_keeper
from animate.serving.loaded import loaded_key
from animate.serving.messages import TAKEN, pair, receive, send
from animate.serving.outlets import MOST_PIECES, Outlet
from animate.serving.servers import Run, server_names
from sampler_clip import change_settings, write_clip, write_model

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
RANKS = ["run_ranks.py", "--nproc-per-node=1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def change_job(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# Ranks that have nothing to sample.
READY = "import socket; s = socket.socket(fileno=0); s.send(b'{\"status\": 0}'); s.recv(1)"


def test_a_server_gives_its_gpu_to_who_waits_for_it_and_stays_for_others(tmp_path, monkeypatch):
    leases = tmp_path / "leases"
    monkeypatch.setenv("WAN_ANIMATE_LEASES", str(leases))
    names = {d: server_names(leases, Run.of(os.getpid()), f"gpu{d}") for d in "01"}

    def start(device):
        with lease([device], 1, leases):
            options = [f"--name={names[device]}", f"--run={os.getpid()}", "--warm-seconds=60"]
            command = [sys.executable, str(SCRIPTS / "keep_sampler.py"), *options, "--"]
            return start_keeper([*command, sys.executable, "-c", READY])

    for device in "01":
        done = sample_by_server(tmp_path / "clip", names[device], partial(start, device), print)
        assert done == {"status": 0}
    for text in (b"{", b"7", b"["):
        with reach(*waiting(names["0"])) as stranger:
            stranger.send(text)
            assert not stranger.recv(1)
    with lease(["1"], 1, leases) as held:
        assert held == ["1"] and waiting(names["0"]) and not waiting(names["1"])
    end_idle_while(leases, lambda: True)
    assert not waiting(names["0"])


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
        key("8bit", attention="8bit"),
        key("lora", loras=[{"path": str(lora), "weight": 0.5}]),
        key("weight", loras=[{"path": str(lora), "weight": 0.6}]),
        key("two", ranks=["run_ranks.py", "--nproc-per-node=2"]),
    ]
    assert len({plain, *changed}) == 8
    path = write_clip(tmp_path / "weights", model, 5)
    weights = next((model / "transformer").glob("*.safetensors"))
    os.utime(weights)
    content = weights.read_bytes()
    weights.write_bytes(content + b" ")
    assert loaded_key(path, RANKS) != plain
    weights.write_bytes(content)


def test_changed_files_of_a_lora_are_loaded_again(tmp_path):
    model = write_model(tmp_path / "model")
    lora = model / "relighting_lora.ckpt"
    own = tmp_path / "own.ckpt"
    own.write_bytes(lora.read_bytes())
    lit = write_clip(tmp_path / "lit", model, 5, "replace")
    plain = write_clip(tmp_path / "plain", model, 5, loras=[{"path": str(own)}])
    keys = [(loaded_key(lit, RANKS), loaded_key(plain, RANKS))]
    for file in (own, own.with_name("adapter_config.json"), lora):
        with file.open("ab") as opened:
            opened.write(b" ")
        keys.append((loaded_key(lit, RANKS), loaded_key(plain, RANKS)))
    assert [len(set(one)) for one in zip(*keys, strict=True)] == [2, 3]
    assert keys[2][0] == keys[0][0] and keys[3][1] == keys[2][1]


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


@pytest.fixture
def gpu_memory(monkeypatch):
    """The free bytes that the ranks see, as if they had a GPU."""
    memory = {"free": 1 << 40}
    monkeypatch.setattr(build, "free_memory", lambda device: memory["free"])
    return memory


def test_what_a_warm_process_has_taken_besides_tensors_is_not_counted_twice(model, gpu_memory):
    machine, said = machine_of(ALONE, "cpu"), []
    kept = models.KeptModels(machine)
    small, large = Workload(32, 32, 5), Workload(64, 64, 9)
    transformer = kept.get(model, [], large, said.append).transformer
    needed = build.common_plan(transformer, machine.device, ALONE, large).peak
    gpu_memory["free"] = needed
    kept = models.KeptModels(machine)
    kept.get(model, [], small, said.append)
    gpu_memory["free"] = needed - GIB
    kept.get(model, [], large, said.append)
    assert said[-1] == "the model is loaded already"
    # So much are libraries of no process.
    gpu_memory["free"] = needed - 2 * GIB
    with pytest.raises(MemoryShort, match="sampling needs"):
        kept.get(model, [], small, said.append)


def test_ranks_that_lack_memory_after_a_clip_leave_the_next_one_to_others(
    model, tmp_path, gpu_memory
):
    first, second = (write_clip(tmp_path / name, model, 5, segment_frames=5) for name in "ab")
    change_settings(second, guidance_scale=2.0)
    machine, answers = machine_of(ALONE, "cpu"), []
    keeper, theirs = pair()

    def keep():
        answers.append(receive(keeper)[0])
        gpu_memory["free"] = 1
        send(keeper, {"settings": str(second)})
        answers.append(receive(keeper)[0])

    with keeper, theirs:
        keeping = threading.Thread(target=keep)
        keeping.start()
        with pytest.raises(Told, match="sampling needs"):
            serve(first, machine, models.KeptModels(machine), theirs)
        keeping.join()
    assert answers[0] == {"status": 0} and "sampling needs" in answers[1]["failed"]
    assert not second.with_name("progress.failure.json").exists()


def test_a_run_that_has_ended_is_not_alive():
    run = Run.of(os.getpid())
    assert run.alive and not Run(run.pid, run.started + 1).alive
    child = os.fork()
    if not child:
        os._exit(0)
    # It has ended, and nobody has asked how.
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not Run.of(child).alive
    os.waitpid(child, 0)


def test_an_outlet_that_nobody_reads_holds_up_nobody():
    reader, writer = os.pipe()
    outlet = Outlet(writer)
    piece = b"x" * (1 << 16)
    while not outlet.full:
        outlet.put(piece)
    assert not outlet.end(0.01)
    outlet = Outlet(os.open(os.devnull, os.O_WRONLY))
    assert outlet.end(5)
    os.close(reader)


def test_an_outlet_writes_in_order_and_in_a_hurry_loses_what_comes_too_late():
    reader, writer = os.pipe()
    outlet = Outlet(writer)
    pieces = [bytes([number]) * (1 << 16) for number in range(2 * MOST_PIECES)]
    outlet.put(pieces[0])
    outlet.hurry()
    for piece in pieces[1:]:
        assert not outlet.full
        outlet.put(piece)
    assert not outlet.end()
    with os.fdopen(reader, "rb") as file:
        text = file.read()
    assert outlet.end(5)
    assert pieces[0] in text and b"".join(pieces).startswith(text)
    assert len(text) < len(pieces) << 16


def stand_still(name: str, stack: ExitStack) -> None:
    """Wait under a name, with a full queue, and do nothing."""
    listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    listener.bind(f"\0{name}")
    listener.listen(0)
    connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    connection.connect(f"\0{name}")


@pytest.fixture
def no_wait():
    """End a test that waits for too long with an error."""

    def end(number, frame):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("no_wait")
def test_servers_that_stand_still_hold_up_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "TAKEN_SECONDS", 0.2)
    names = server_names(tmp_path, Run.of(os.getpid()), "still")

    def start():
        raise InterruptedError

    with ExitStack() as stack:
        stand_still(f"{names}1", stack)
        assert reach(f"{names}1") is None
        # One with room in its queue never answers.
        stack.enter_context(wait_as(f"{names}2"))
        with pytest.raises(InterruptedError):
            sample_by_server(tmp_path / "settings.json", names, start, print)


def test_a_keeper_that_fails_says_why_in_the_clips_log(tmp_path, capfd):
    names = server_names(tmp_path, Run.of(os.getpid()), "fails")

    def start(*command):
        options = [f"--name={names}", f"--run={os.getpid()}", "--warm-seconds=1"]
        return start_keeper([sys.executable, str(SCRIPTS / "keep_sampler.py"), *options, *command])

    answer = sample_by_server(
        tmp_path / "settings.json", names, lambda: start("--", "/no/such/ranks"), print
    )
    assert "keeper failed (FileNotFoundError" in answer["failed"]
    assert "Traceback" in capfd.readouterr().err
    # Before it has taken the clip.
    answer = sample_by_server(tmp_path / "settings.json", names, start, print)
    assert "failed" in answer and "required: command" in capfd.readouterr().err
