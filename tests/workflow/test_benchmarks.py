"""The benchmarks run, on a CPU and a tiny model, and their rows say what they should."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from animate.demo.tiny2 import write_tiny_2
from animate.devices.world import ALONE, World
from animate.model.transformer import SamplingTransformer
from animate.parallel import build, forwards
from animate.parallel.plan import Workload
from animate.weights.architecture import check_architecture
from animate.weights.checkpoint import empty_transformer
from animate.weights.kinds import folder_kind

ROOT = Path(__file__).parents[2]
PATHS = [str(ROOT / "workflow/scripts"), str(ROOT / "tests")]


def run(script: str, *arguments) -> str:
    """Return what a benchmark prints."""
    command = [sys.executable, ROOT / "benchmarks" / script, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(PATHS), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_what_settings_for_long_clips_change_is_measured(tmp_path):
    variants = ["as the official code", "5 frames, colours, fade"]
    options = ["--seeds", 2, "--segments", 2, "--steps", 1, "--output", tmp_path / "rows.json"]
    run("drift.py", tmp_path / "models", *options, "--variants", *variants)
    result = json.loads((tmp_path / "rows.json").read_text())
    assert [row["clip"] for row in result["rows"]] == variants
    for row in result["rows"]:
        seeds = [one["colour_drift"] for one in result["seeds"][row["clip"]]]
        assert len(seeds) == 2 and seeds[0] != seeds[1]
        assert row["colour_drift"] == pytest.approx(sum(seeds) / 2) and row["+- colour_drift"] > 0
    assert result["rows"][0]["seams"] != result["rows"][1]["seams"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny random model whose transformer is linked from another folder."""
    folder = tmp_path_factory.mktemp("models")
    run("random_model.py", folder / "tiny", "--tiny", "--transformer-on", folder / "elsewhere")
    return folder / "tiny"


@pytest.mark.slow
def test_a_random_model_of_wan_animate_2_is_one(tmp_path):
    run("random_model.py", tmp_path / "x", "--tiny", "--model", "wan-animate-2", "--stored", "bf16")
    check_architecture(tmp_path / "x")
    assert folder_kind(tmp_path / "x" / "transformer").title == "Wan-Animate-2"


def test_a_clip_is_timed_in_parts_that_add_up(model, tmp_path):
    options = ["--tiny", "--steps", 2, "--rounds", 1, "--cold", "--output", tmp_path / "rows.json"]
    printed = run("clips.py", model, *options)
    result = json.loads((tmp_path / "rows.json").read_text())
    (row,) = result["rows"]
    assert row["clip"] == "animate, bf16, 2 steps, 1, cold" and row["clip"] in printed
    parts = ("first line", "imports", "loading", "before steps", "all steps", "to a file", "exit")
    assert all(row[part] > 0 for part in parts)
    assert sum(row[part] for part in parts) == pytest.approx(row["all"])
    assert row["all steps"] == pytest.approx(2 * row["a step"])
    (plan,) = result["made_by"]
    assert "weights replicated" in plan and result["made_by"][plan]["device"] == "cpu"


@pytest.mark.slow
def test_clips_of_one_run_are_timed_with_a_model_that_is_loaded_once(model, tmp_path):
    clips = ["--tiny", "--clips", 13, 13, "5:pad", "--output", tmp_path / "rows.json"]
    printed = run("warm_clips.py", model, *clips)
    result = json.loads((tmp_path / "rows.json").read_text())
    assert [row["clip"] for row in result["rows"]] == ["13", "13, warm", "5:pad, warm"]
    assert len(result["warm"]) == 2 and "2 warm clips: " in printed
    for row in result["rows"]:
        parts = sum(row[part] for part in ("to a step", "steps", "to a file", "exit"))
        assert parts == pytest.approx(row["all"])
        before = sum(row[part] for part in ("start", "frames", "encoding", "constants"))
        assert 0 < before < row["to a step"]
        assert row["decoding"] > 0 and row["ending"] > 0


@pytest.mark.slow
def test_what_the_host_does_between_steps_is_timed(tmp_path):
    run("between.py", "--tiny", "--decoding", 0.2, "--output", tmp_path / "rows.json")
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert len(rows) == 4 and all(row["seconds"] > 0 for row in rows)


def test_steps_are_timed_and_compared_with_the_plain_forward_and_diffusers(model, tmp_path):
    options = ["--tiny", "--repeats", 1, "--parts", "diffusers", "vae", "steps", "job"]
    run("steps.py", model, *options, "--output", tmp_path / "rows.json")
    rows = {row["what"]: row for row in json.loads((tmp_path / "rows.json").read_text())["rows"]}
    ways = [f"bf16, {way}, compile auto, plain attention" for way in ("replicated", "offload")]
    compared = ["diffusers' step", "encode", "decode", *ways]
    others = ["plain step", "diffusers' encode", "diffusers' decode"]
    others += [f"job of 2 steps, {way}" for way in ways]
    assert {*rows} == {f"{name}, 64x48x13" for name in [*compared, *others]}
    assert all(rows[f"{name}, 64x48x13"]["error"] < 1e-4 for name in compared)
    assert all(row["seconds"] > 0 for row in rows.values())


@pytest.mark.parametrize("placement", ["replicated", "fsdp2", "offload"])
@pytest.mark.parametrize("by_frames", [False, True])
def test_steps_are_timed_by_the_plan_that_is_wanted(model, monkeypatch, placement, by_frames):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    steps = importlib.import_module("steps")
    for module, name in ((build, "common_plan"), (forwards, "choose_attention")):
        monkeypatch.setattr(module, name, getattr(module, name))
    steps.force(placement, None, by_frames)
    empty = SamplingTransformer(empty_transformer(model / "transformer", torch.float32))
    workload = Workload(1280, 720, 77)
    plan = build.common_plan(empty, torch.device("cpu"), World(0, 2), workload)
    assert (plan.placement, plan.by_frames, plan.resident) == (placement, by_frames, 0)
    if by_frames:
        # In so few pixels bands of the VAE take no less.
        with pytest.raises(steps.NoPlan, match="no plan by frames has the weights"):
            build.common_plan(empty, torch.device("cpu"), ALONE, Workload(16, 16, 1))


@pytest.mark.slow
def test_one_of_several_ranks_is_timed(model, tmp_path):
    options = ["--tiny", "--ranks", 1, 2, 4, "--repeats", 1, "--compile", "off"]
    run("one_rank.py", model, *options, "--output", tmp_path / "rows.json")
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    whats = ("step, bf16, exact", "encode both", "decode")
    assert [row["what"] for row in rows[:3]] == [f"{whats[0]}, 64x48x13, of {n}" for n in (1, 2, 4)]
    assert {row["what"].split(", 64")[0] for row in rows} == {*whats} and len(rows) == 9
    assert all(row["seconds"] > 0 and row["host"] > 0 and row["of one"] > 0 for row in rows)


@pytest.mark.slow
def test_loading_is_timed_from_the_original_and_from_its_copy(model):
    printed = run("loading.py", model)
    assert printed.count("load, files cold") == printed.count("load, files in memory") == 2
    assert "prepared/bf16 holds the same numbers" in printed


@pytest.mark.slow
def test_editing_is_measured(tmp_path):
    options = ["--tiny", "--steps", 3, "--placements", "auto", "fp8"]
    printed = run("retarget.py", tmp_path / "editor", *options)
    assert "making the model:" in printed and "encoding all prompts" in printed
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines()[-2:]]
    assert [row[0] for row in rows] == ["auto", "fp8"]
    for start, load, few, steps, each, allocated, reserved, host in (row[1:] for row in rows):
        assert min(map(float, (start, load, few, steps, host))) > 0
        assert float(steps) > float(each) and float(allocated) == float(reserved) == 0
    # A placement for which no time is left does not start.
    late = run("retarget.py", tmp_path / "editor", *options, "--most", 0)
    assert late.splitlines()[-1].startswith("| fp8 | no time left |")


@pytest.mark.slow
def test_a_clip_is_sampled_as_on_a_smaller_card(model):
    printed = run("small_cards.py", model, "--tiny", "--steps", 1, "--gib", 12)
    assert "64x48x13, bf16, 12 GiB" in printed


@pytest.mark.slow
def test_parts_of_wan_animate_2_are_those_of_diffusers(tmp_path):
    write_tiny_2(tmp_path / "tiny")
    options = ["--tiny", "--theirs", "--keys", "resident", "streamed", "--repeats", 0]
    rows = [line.split("|") for line in run("driven.py", tmp_path / "tiny", *options).splitlines()]
    errors = {row[1].strip(): row[6].strip() for row in rows if len(row) > 6}
    for place in ("resident", "streamed"):
        assert float(errors[f"step, bf16, keys {place}"]) < 1e-5
    assert float(errors["step, bf16, keys streamed, scaled first frame"]) == 0


@pytest.mark.slow
def test_arithmetic_is_compared_with_fp32(model):
    printed = run("numerics.py", model, "--tiny", "--fp32", "--steps", 2, "--ways", "bf16,exact")
    _, way, forward, exact, whole, *_ = printed.splitlines()[-1].split("|")
    assert way.strip() == "bf16,exact"
    assert float(forward) == float(whole) == 0 and float(exact) < 1e-5


@pytest.mark.slow
def test_attention_is_timed_and_its_errors_are_measured(tmp_path):
    sizes = ["--tokens", 256, "--heads", 2, "--error-tokens", 300, "--repeats", 1]
    run("attention.py", *sizes, "--output", tmp_path / "rows.json")
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert row["kernel"] == "plain" and row["seconds"] > 0 and row["TFLOP/s"] > 0
    kinds = ("normal", "queries x4", "outliers", "local")
    assert all(0 < row[kind] < 0.01 for kind in kinds)
