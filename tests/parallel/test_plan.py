"""The memory plan picks the fastest placement that fits, and refuses with what to change."""

import gc
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from animate.cluster.plan import cards_of
from animate.cluster.published import published_sizes
from animate.cluster.work import Work
from animate.demo.model import write_tiny_model
from animate.devices.host_memory import free_host_memory, free_in_group
from animate.devices.world import ALONE
from animate.errors import ClipError, HostMemoryShort, MemoryShort
from animate.model.transformer import SamplingTransformer
from animate.parallel import build
from animate.parallel.loading import fill_transformer
from animate.parallel.offload import Offloaded, mapped_file
from animate.parallel.plan import (
    GIB,
    OFFLOAD,
    Plan,
    Sizes,
    Workload,
    check_host_memory,
    model_sizes,
    plan_memory,
    plans,
    spread,
    vae_work,
)
from animate.parallel.ulysses import check_degree
from animate.weights.checkpoint import empty_transformer
from ranks import velocity
from small_disk import small_disk

# Wan2.2-Animate-14B in bf16.
SIZES = Sizes((808 << 20,) * 40, int(1.5 * GIB), 5120, 13824)
SEGMENT = {"tokens": 75600, "pixels": 1280 * 720, "frames": 77}


@pytest.mark.parametrize(
    ("memory", "ranks", "placement"),
    [
        (80, 1, "replicated"),
        (24, 1, "offload"),
        (48, 2, "replicated"),
        (30, 2, "fsdp2"),
        (24, 8, "fsdp2"),
        (None, 4, "replicated"),
    ],
)
def test_fastest_that_fits(memory, ranks, placement):
    limit = None if memory is None else memory * GIB
    assert plan_memory(SIZES, **SEGMENT, memory=limit, ranks=ranks).placement == placement


@pytest.mark.parametrize(
    ("memory", "ranks", "measured"),
    [(140, 1, 43.0), (48, 2, 41.3), (30, 2, 28.0), (15, 1, 13.5)],
)
def test_expected_peak_covers_what_an_h200_took(memory, ranks, measured):
    plan = plan_memory(SIZES, **SEGMENT, memory=memory * GIB, ranks=ranks)
    assert measured <= plan.peak / GIB < 1.1 * measured


def test_a_vae_in_fp32_takes_more():
    plans = [
        plan_memory(SIZES, **SEGMENT, memory=20 * GIB, ranks=1, vae_precision=kind)
        for kind in ("bf16", "fp32")
    ]
    peaks = [plan.peak - spared(plan, SIZES) for plan in plans]
    assert peaks[0] + 4 * GIB < peaks[1] < 20 * GIB


@pytest.mark.parametrize(
    ("width", "height", "aim"), [(1280, 720, 9e9), (832, 464, 7e9)], ids=["720p", "480p"]
)
def test_small_cards_hold_the_published_model_in_fp8(width, height, aim):
    tokens, pixels = 21 * width * height // 256, width * height
    plan = plan_memory(published_sizes("fp8"), tokens, pixels, 77, int(aim), 1)
    assert plan.by_frames and not plan.resident and plan.host_memory < 24e9
    # Larger cards do without.
    assert not plan_memory(published_sizes("fp8"), tokens, pixels, 77, 20 * GIB, 1).by_frames


@pytest.mark.parametrize(
    ("kind", "ranks", "groups"),
    [
        ("posed", 1, [("replicated", ""), ("offload", "")]),
        ("posed", 2, [("replicated fsdp2", ""), ("offload", "")]),
        (
            "driven",
            1,
            [("replicated", ""), ("replicated", "keys"), ("offload", ""), ("offload", "keys")],
        ),
        (
            "driven",
            4,
            [
                ("replicated fsdp2", ""),
                ("replicated fsdp2", "keys"),
                ("offload", ""),
                ("offload", "keys"),
            ],
        ),
    ],
)
def test_what_is_slower_comes_later(kind, ranks, groups):
    sizes, frames = published_sizes("fp8", kind), 77 if kind == "posed" else 81
    found = plans(sizes, (frames // 4 + 2) * 3600, 1280 * 720, frames, ranks)
    expected = [
        (placement, by_frames, bool(keys))
        for placements, keys in groups
        for by_frames in (False, True)
        for placement in placements.split()
    ]
    assert [(plan.placement, plan.by_frames, plan.streamed) for plan in found] == expected
    by_way = dict(zip(expected, found, strict=True))
    kept = sizes.kept * 3600 * 21
    for (placement, by_frames, streamed), plan in by_way.items():
        locked = sum(sizes.blocks) if placement == "offload" else 0
        assert plan.host_memory == locked + kept * streamed
        assert not by_frames or plan.peak < by_way[placement, False, streamed].peak


def test_weights_stay_on_gpus_where_it_takes_less_to_compute_by_frames():
    sizes = published_sizes("fp8")
    one = plan_memory(sizes, **SEGMENT, memory=30 * GIB, ranks=1)
    assert (one.placement, one.by_frames, one.host_memory) == ("replicated", True, 0)
    larger = plan_memory(published_sizes("bf16"), **SEGMENT, memory=38 * GIB, ranks=1)
    assert (larger.placement, larger.by_frames) == ("replicated", True)
    # Twice 20 GiB. For each rank's tokens there are 22 bytes for each number of the width: 4 of the
    # stream, 6 of queries, keys and values, 12 of what is sent and arrives.
    two = plan_memory(sizes, **SEGMENT, memory=20 * GIB, ranks=2)
    assert (two.placement, two.by_frames, two.host_memory) == ("fsdp2", True, 0)
    weights = sum(sizes.blocks) // 2 + sizes.rest + 3 * max(sizes.blocks)
    tokens = 22 * SEGMENT["tokens"] // 2 * sizes.width
    assert weights + tokens + 3 * GIB <= two.peak < weights + 1.02 * tokens + 3 * GIB
    # Allocated with them on H200s, computed whole: 18.2 GiB, and 20.0 reserved.
    whole = plan_memory(sizes, **SEGMENT, memory=22 * GIB, ranks=2, attention="8bit")
    assert (whole.placement, whole.by_frames) == ("fsdp2", False)
    assert 20 < whole.peak / GIB < 1.1 * 20


def test_gathered_weights_and_the_vae_take_the_same_memory():
    # A VAE in fp32 takes more than the transformer and the blocks that ranks gather for it.
    sizes = published_sizes("bf16")
    plan = plan_memory(sizes, **SEGMENT, memory=40 * GIB, ranks=2, vae_precision="fp32")
    work = vae_work(SEGMENT["pixels"], SEGMENT["frames"], 2, "fp32")
    assert plan.placement == "fsdp2"
    assert plan.peak == sum(sizes.blocks) // 2 + sizes.rest + work + 3 * GIB


def test_refusal_names_settings():
    with pytest.raises(ClipError, match="segment_frames or resolution_area lower"):
        plan_memory(SIZES, **SEGMENT, memory=6 * GIB, ranks=1)


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_each_placement_is_taken_to_its_last_byte(precision, ranks):
    sizes, memory, found = published_sizes(precision), None, []
    with pytest.raises(MemoryShort, match="sampling needs"):
        while True:
            plan = plan_memory(sizes, **SEGMENT, memory=memory, ranks=ranks)
            again = plan_memory(sizes, **SEGMENT, memory=memory_of(plan, memory), ranks=ranks)
            assert again == plan
            found.append((plan.placement, plan.host_memory + spared(plan, sizes), plan.by_frames))
            memory = plan.peak - spared(plan, sizes) - 1
    # FSDP2 takes less than whole weights by frames, and is faster.
    here = [("replicated", False), ("replicated", True)]
    if ranks > 1:
        here = [("replicated", False), ("fsdp2", False), ("fsdp2", True)]
    expected = [(placement, 0, by_frames) for placement, by_frames in here]
    host = [("offload", sum(sizes.blocks), by_frames) for by_frames in (False, True)]
    assert found == [*expected, *host]


def spared(plan: Plan, sizes: Sizes) -> int:
    """Return the bytes of the blocks that stay on the GPU."""
    return sum(sizes.blocks[index] for index in spread(plan.resident, len(sizes.blocks)))


def memory_of(plan: Plan, memory: int | None) -> int | None:
    """Return the least memory with which the same blocks stay on the GPU."""
    return memory if plan.resident else plan.peak


@pytest.mark.parametrize("gib", [12, 16, 24, 36])
def test_blocks_stay_on_the_gpu_as_far_as_its_memory_goes(gib):
    sizes, memory = published_sizes("bf16"), gib * GIB
    plan = plan_memory(sizes, **SEGMENT, memory=memory, ranks=1)
    kept = spared(plan, sizes)
    assert plan.host_memory == sum(sizes.blocks) - kept
    assert memory - 1.5 * GIB - max(sizes.blocks) < plan.peak <= memory - 1.5 * GIB or not kept
    assert (f"but for {plan.resident} blocks" in str(plan)) == bool(kept)
    if gib == 36:
        assert plan.host_memory < 12 * GIB
    # They lie as far apart as they can.
    numbers = sorted(spread(plan.resident, 40))
    assert len(numbers) == plan.resident
    apart = {after - before for before, after in pairwise(numbers)}
    assert len(apart) <= 2


def test_blocks_that_stay_give_the_same_bits(tmp_path):
    write_tiny_model(tmp_path, face_size=32)
    folder, found = tmp_path / "transformer", []
    for resident in ((), {0}, {1, 3}, {0, 1, 2, 4}):
        weights = empty_transformer(folder, torch.float32)
        model = SamplingTransformer(weights)
        store = Offloaded(weights, model, torch.device("cpu"), resident=resident)
        fill_transformer(weights, folder, torch.device("cpu"), store)
        found.append(velocity(model, (4, 4, 4)))
        held = {p.untyped_storage().data_ptr() for p in model.blocks.parameters()}
        # Those that travel share two slots.
        assert len(held) >= min(2, 5 - len(resident))
    assert all(torch.equal(one, found[0]) for one in found[1:])


def test_blocks_in_host_memory_are_refused_where_that_is_short():
    plan = plan_memory(SIZES, **SEGMENT, memory=15 * GIB, ranks=1)
    assert plan.host_memory == 40 * (808 << 20)
    assert str(plan).endswith("GiB per GPU, 31.6 GiB in host memory")
    check_host_memory(plan, [("a", plan.host_memory)])
    check_host_memory(plan, [("a", None)])
    with pytest.raises(
        HostMemoryShort, match=r"need 31\.6 GiB of host .* 31\.5 GiB .* on a: .*fp8"
    ):
        check_host_memory(plan, [("a", int(31.5 * GIB))])
    # Each host holds what its ranks keep there: half of the blocks, or three quarters.
    half = plan.host_memory // 2
    check_host_memory(plan, [("a", half), ("b", half)])
    with pytest.raises(HostMemoryShort, match="on b"):
        check_host_memory(plan, [("a", half), ("b", half), ("b", half), ("b", half)])
    on_gpu = plan_memory(SIZES, **SEGMENT, memory=80 * GIB, ranks=1)
    check_host_memory(on_gpu, [("a", 0)])


def test_blocks_lie_in_a_file_where_the_host_has_no_room_for_them(tmp_path, monkeypatch):
    write_tiny_model(tmp_path, face_size=32)
    tiny = Workload(64, 64, 13)
    empty = SamplingTransformer(empty_transformer(tmp_path / "transformer", torch.float32))
    segment = tiny.tokens, 64 * 64, 13
    whole = plan_memory(model_sizes(empty), *segment, None, 1).peak
    needed = plan_memory(model_sizes(empty), *segment, whole - 1, 1).host_memory
    monkeypatch.setattr(build, "free_memory", lambda device: whole - 1)

    def built(free: int, room: int = 1 << 40):
        monkeypatch.setattr(build, "free_host_memory", lambda: free)
        usage = shutil.disk_usage(tmp_path)._replace(free=room)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
        said = []
        options = torch.float32, torch.device("cpu"), [], ALONE, tiny
        made = build.build_transformer(tmp_path, *options, said.append)
        assert made.how["placement"] == "offload"
        return said, velocity(made.model, (4, 4, 4)), mapped(tmp_path / "prepared")

    said, expected, files = built(needed)
    assert "GiB in host memory" in said[0]
    assert not files and len(said) == 2
    said, found, files = built(needed - 1)
    assert torch.equal(found, expected)
    assert files and re.search(r"slower: .* host memory, .* a file in \S*prepared", said[1])
    assert not [*(tmp_path / "prepared").iterdir()], "it has no name"
    with pytest.raises(HostMemoryShort, match="of host memory"):
        built(needed - 1, needed)


def mapped(folder: Path) -> list[str]:
    """Return this process's mappings of files in a folder."""
    gc.collect()
    return [
        line for line in Path("/proc/self/maps").read_text().splitlines() if f"{folder}/" in line
    ]


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path):
    with small_disk(tmp_path / "disk") as folder, pytest.raises(OSError, match="No space"):
        mapped_file(1 << 20, folder)


@pytest.mark.parametrize(
    ("size", "frames", "precision", "cards"),
    [
        ((1280, 720), 77, "bf16", "12: 38, 24: 33, 48: 24"),
        ((1280, 720), 77, "fp8", "8: 28, 12: 25, 24: 24"),
        ((832, 464), 77, "bf16", "8: 40, 12: 39, 16: 35, 24: 28, 48: 24"),
        ((832, 464), 77, "fp8", "8: 27, 12: 26, 16: 24"),
        ((2560, 1440), 77, "fp8", "24: 25, 48: 24"),
        ((3840, 2160), 121, "bf16", "80: 24"),
        ((7680, 4320), 77, "fp8", "none"),
    ],
)
def test_plan_names_the_cards_and_the_ram_that_would_do(size, frames, precision, cards):
    pixels = size[0] * size[1]
    lengths = {"segment_frames": frames, "conditioning_frames": 1, "steps": 20}
    kinds = {"guided_steps": 0, "encoded": 1, "precision": precision, "vae_precision": "bf16"}
    assert cards_of(Work(frames, True, pixels, **lengths, **kinds), 1) == cards


def test_ram_is_that_of_each_machine():
    work = Work(77, True, 1280 * 720, 77, 1, 20, 0, 1, "fp8", "bf16")
    assert cards_of(work, 4) == "8: 46, 16: 24"
    assert cards_of(work, 4, machines=2) == "8: 24"


def test_files_in_memory_count_as_free_in_a_control_group(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text(
        "anon 200\nfile 700\ninactive_file 400\nactive_file 250\n"
    )
    assert free_in_group(tmp_path) == 1000 - 900 + 650
    (tmp_path / "memory.max").write_text("max\n")
    with pytest.raises(ValueError, match="max"):
        free_in_group(tmp_path)
    assert 0 < free_host_memory() < 1 << 50


def test_ranks_must_divide_heads():
    with pytest.raises(ClipError, match="can be shared by 1, 2, 4, 5, 8, 10, 20, 40"):
        check_degree(3, 40)


def test_a_host_without_room_names_the_disk_that_would_do(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "host_memory", lambda: ("a", GIB))
    plan = Plan(OFFLOAD, 8 * GIB, 30 * GIB)
    monkeypatch.setattr(build, "has_room", lambda folder, size: True)
    assert build.blocks_on_disk(plan, tmp_path, ALONE, print) == tmp_path / "prepared"
    monkeypatch.setattr(build, "has_room", lambda folder, size: False)
    named = re.escape(f"30.0 GiB that can be written in {tmp_path / 'prepared'}")
    with pytest.raises(HostMemoryShort, match=named):
        build.blocks_on_disk(plan, tmp_path, ALONE, print)
