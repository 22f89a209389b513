"""Masks are carried over short gaps, with the body, and calm; never over a cut."""

import weakref
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from animate.matte.through_time import carried, steady

SIZE, COUNT, LONGEST = (160, 96), 24, 6
ONE_SHOT = (0,)


def disc(x: float, y: float = 48, radius: float = 14) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    return (np.hypot(columns - x, rows - y) < radius).astype(np.uint8)


def walk(number: int) -> tuple[float, float, float]:
    """Return place and size of somebody who walks to the right and comes near."""
    return 30 + 4.0 * number, 48 - 0.5 * number, 12 + 0.5 * number


def clip() -> tuple[list[np.ndarray], np.ndarray]:
    """Return the walker's masks, and body points (N, 20, 3) that fit them; half are not seen."""
    angles = np.linspace(0, 2 * np.pi, 20)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    body = [np.column_stack([0.8 * circle * r + (x, y), np.ones(20)]) for x, y, r in places()]
    body = np.array(body)
    body[:, 10:, 2] = 0
    return [disc(*place) for place in places()], body


def places() -> list[tuple[float, float, float]]:
    return [walk(number) for number in range(COUNT)]


def carry(lost: Iterable[int], shots=ONE_SHOT, longest: int = LONGEST, seen: bool = False):
    """Return the walker's masks carried over the `lost` frames, in which the body is not `seen`."""
    masks, body = clip()
    found = np.ones(COUNT, bool)
    for number in lost:
        masks[number] = np.zeros_like(masks[number])
        found[number] = seen
        body[number, :, :2] = -500
    return list(carried(masks, body, found, shots, longest))


@pytest.mark.parametrize("seen", [False, True], ids=["nobody found", "no outline found"])
def test_mask_moves_and_grows_with_the_body_over_a_gap(seen):
    truth = clip()[0]
    masks = carry(range(8, 8 + LONGEST), seen=seen)
    assert len(masks) == COUNT
    for mask, true in zip(masks, truth, strict=True):
        assert mask.dtype == np.uint8 and mask.max() == 1
        assert (mask & true).sum() > 0.97 * true.sum() and mask.sum() < 1.1 * true.sum()


def test_carried_mask_is_what_either_side_covers():
    masks, body = clip()
    body[...] = body[0]
    masks = [disc(50)] * 5 + [disc(0, radius=0)] * 3 + [disc(80)] * (COUNT - 8)
    found = np.array([mask.any() for mask in masks])
    for mask in list(carried(masks, body, found, ONE_SHOT, LONGEST))[5:8]:
        np.testing.assert_array_equal(mask, disc(50) | disc(80))


@pytest.mark.parametrize(
    ("lost", "shots"),
    [
        (range(8, 9 + LONGEST), ONE_SHOT),
        (range(8, 12), (0, 8)),
        (range(8, 12), (0, 10)),
        (range(8, 12), (0, 12)),
        (range(3), ONE_SHOT),
        (range(COUNT - 3, COUNT), ONE_SHOT),
    ],
    ids=["long", "cut before", "cut in it", "cut after", "first frames", "last frames"],
)
def test_other_gaps_stay_empty(lost, shots):
    for number, (mask, true) in enumerate(zip(carry(lost, shots), clip()[0], strict=True)):
        np.testing.assert_array_equal(mask, np.zeros_like(true) if number in lost else true)


def test_outline_of_a_frame_without_the_person_is_not_taken():
    masks, body = clip()
    found = np.ones(COUNT, bool)
    found[-1] = False
    assert not list(carried(masks, body, found, ONE_SHOT, LONGEST))[-1].any()


def test_body_that_the_frame_cuts_off_is_covered_down_to_its_edge():
    masks, body = clip()
    body[...] = body[0]
    body[8:, :, 1] -= 10
    masks = [np.vstack([np.zeros((40, 160), np.uint8), np.ones((56, 160), np.uint8)])] * COUNT
    found = np.arange(COUNT) != 7
    assert list(carried(masks, body, found, ONE_SHOT, LONGEST))[7][45:].all()


def test_steady_unites_two_frames_each_way_within_the_shot():
    masks = [disc(10 + 6 * number, radius=4) for number in range(COUNT)]
    united = list(steady(masks, (0, 9)))
    for number in range(COUNT):
        near = [i for i in range(number - 2, number + 3) if 0 <= i < COUNT]
        expected = [masks[i] for i in near if (i < 9) == (number < 9)]
        np.testing.assert_array_equal(united[number], np.bitwise_or.reduce(expected))
    assert [mask.sum() for mask in masks] == [disc(10, radius=4).sum()] * COUNT


@pytest.mark.parametrize("count", [1, 2, 3])
def test_steady_takes_shots_that_are_shorter_than_its_window(count):
    assert len(list(steady([disc(50)] * count, tuple(range(count))))) == count


def test_steady_leaves_frames_without_a_mask():
    masks = [disc(50, radius=0 if number in (4, 5) else 14) for number in range(COUNT)]
    united = list(steady(masks, ONE_SHOT))
    assert [number for number in range(COUNT) if not united[number].any()] == [4, 5]


def test_memory_does_not_grow_with_the_clip():
    alive, most = weakref.WeakSet(), 0

    class Mask(np.ndarray):
        __hash__ = object.__hash__

    def watched(count: int) -> Iterator[np.ndarray]:
        nonlocal most
        for number in range(count):
            mask = disc(50, radius=0 if 40 < number < 90 else 14).view(Mask)
            alive.add(mask)
            most = max(most, len(alive))
            yield mask

    body = np.ones((200, 20, 3))
    masks = steady(carried(watched(200), body, np.ones(200, bool), ONE_SHOT, 60), ONE_SHOT)
    assert sum(mask.any() for mask in masks) == 200 and most < 12
