"""The memory plan picks the fastest placement that fits, and refuses with what to change."""

import pytest

from animate.errors import ClipError
from animate.parallel.plan import GIB, Sizes, plan_memory
from animate.parallel.ulysses import check_degree

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
    [(140, 1, 43.0), (48, 2, 41.3), (30, 2, 28.0), (20, 1, 13.5)],
)
def test_expected_peak_covers_what_an_h200_took(memory, ranks, measured):
    plan = plan_memory(SIZES, **SEGMENT, memory=memory * GIB, ranks=ranks)
    assert measured <= plan.peak / GIB < 1.1 * measured


def test_a_vae_in_fp32_takes_more():
    peaks = [
        plan_memory(SIZES, **SEGMENT, memory=20 * GIB, ranks=1, vae_precision=kind).peak
        for kind in ("bf16", "fp32")
    ]
    assert peaks[0] + 4 * GIB < peaks[1] < 20 * GIB


def test_refusal_names_settings():
    with pytest.raises(ClipError, match="segment_frames or resolution_area lower"):
        plan_memory(SIZES, **SEGMENT, memory=8 * GIB, ranks=1)


def test_ranks_must_divide_heads():
    with pytest.raises(ClipError, match="can be shared by 1, 2, 4, 5, 8, 10, 20, 40"):
        check_degree(3, 40)
