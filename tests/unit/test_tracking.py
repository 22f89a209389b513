"""Who is followed in each shot: by looks, else by the rule, over the whole shot."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from animate.pose.follow import Seen, Shown, follow
from animate.pose.keypoints import EMPTY
from figures import BLUE, GREEN, LARGE, LEFT, RED, RIGHT, SMALL, boxes_in, picture


def observe(shown: Iterator[Shown]) -> Iterator[Seen]:
    """Find the coloured boxes, and give the followed one's colour as its keypoints."""
    for frame, tracker in shown:
        boxes = boxes_in(frame)
        index = tracker.pick(boxes, frame)
        if index is None:
            yield None, len(boxes)
        else:
            x, y = boxes[index, :2].astype(int)
            colour = frame[y, x].argmax()
            yield tuple(np.full_like(part, colour) for part in EMPTY), len(boxes)


def followed(
    frames: Sequence[np.ndarray], shots: Sequence[int] = (0,), person: str = "largest"
) -> str:
    """Return for each frame who is followed: r, g, b, or - for nobody."""
    keypoints = follow(frames, shots, person, observe)
    return "".join(
        "rgb"[int(body[0, 0])] if found else "-"
        for body, found in zip(keypoints.body, keypoints.found, strict=True)
    )


def test_a_passer_by_in_the_first_frames_does_not_win_the_shot():
    alone, both = picture((*SMALL, RED)), picture((*SMALL, RED), (*LARGE, GREEN))
    only = picture((*LARGE, GREEN))
    frames = [alone] * 3 + [both] * 5 + [only] * 40
    assert followed(frames) == "-" * 3 + "g" * 45
    # One who is seen longer, but smaller, neither.
    assert followed([both] * 60 + [alone] * 20) == "g" * 60 + "-" * 20


def test_the_largest_is_so_over_the_shot_though_hidden_for_a_while():
    passing = [picture((*LEFT, RED), (x, 90, 90, 220, GREEN)) for x in range(600, -90, -30)]
    frames = [picture((*LEFT, RED))] * 10 + passing + [picture((*LEFT, RED))] * 10
    found = followed(frames)
    assert found[:25] == "r" * 25 and found[-12:] == "r" * 12 and set(found) == {"r", "-"}


def test_center_is_who_is_there_most_of_the_time():
    start = picture((280, 100, 80, 200, RED), (*RIGHT, GREEN))
    later = [
        picture((280 - 10 * n, 100, 80, 200, RED), (460 - 6 * n, 100, 80, 200, GREEN))
        for n in range(27)
    ]
    frames = [start, *later, *[later[-1]] * 30]
    assert followed(frames, person="center") == "g" * 58
    assert followed(frames, person="300,200") == "r" * 58


@pytest.mark.parametrize("place", [LEFT, RIGHT, LARGE, SMALL])
def test_a_single_person_is_taken_at_a_cut_wherever_and_whoever_it_is(place):
    for colour, name in ((RED, "r"), (GREEN, "g")):
        frames = [picture((*LEFT, RED))] * 10 + [picture((*place, colour))] * 10
        assert followed(frames, (0, 10)) == "r" * 10 + name * 10


@pytest.mark.parametrize("place", [RIGHT, LARGE, SMALL])
def test_a_single_person_is_taken_at_once_after_a_cut_that_nobody_knows(place):
    for colour, name in ((RED, "r"), (GREEN, "g")):
        frames = [picture((*LEFT, RED))] * 10 + [picture((*place, colour))] * 10
        assert followed(frames) == "r" * 10 + name * 10


def test_after_a_cut_the_person_is_known_by_looks_before_the_rule_counts():
    first = picture((*LARGE, RED), (*SMALL, GREEN))
    second = picture((*LARGE, GREEN), (*SMALL, RED))
    assert followed([first] * 20 + [second] * 20, (0, 20)) == "r" * 40
    strangers = picture((*LARGE, GREEN), (*SMALL, BLUE))
    assert followed([picture((*LEFT, RED))] * 20 + [strangers] * 20, (0, 20)) == "r" * 20 + "g" * 20
    # The one who was followed comes in later: the shot is gone through again.
    late = [picture((*LARGE, GREEN))] * 5 + [second] * 15
    assert followed([first] * 20 + late, (0, 20)) == "r" * 20 + "-" * 5 + "r" * 15


def test_of_two_who_were_followed_the_one_of_more_frames_is_the_person():
    red, green = picture((*LEFT, RED)), picture((*LEFT, GREEN))
    both = picture((*LARGE, GREEN), (*SMALL, RED))
    frames = [red] * 20 + [green] * 10 + [both] * 10 + [green] * 40 + [both] * 10
    shots = (0, 20, 30, 40, 80)
    assert followed(frames, shots) == "r" * 20 + "g" * 10 + "r" * 10 + "g" * 40 + "g" * 10
    # Whom the user points at is the person of the whole clip.
    assert followed(frames, shots, "100,200").endswith("r" * 10)


def test_a_shot_without_anybody_between_two_changes_nothing():
    both = picture((*LARGE, GREEN), (*SMALL, RED))
    frames = [picture((*LEFT, RED))] * 10 + [picture()] * 10 + [both] * 10
    assert followed(frames, (0, 10, 20)) == "r" * 10 + "-" * 10 + "r" * 10


def test_who_is_known_as_another_is_not_taken_and_strangers_are_after_half_a_second():
    both, other = picture((*LARGE, RED), (*SMALL, GREEN)), picture((*SMALL, GREEN))
    assert followed([both] * 20 + [other] * 15) == "r" * 20 + "-" * 15
    strangers = picture((*LARGE, GREEN), (*SMALL, BLUE))
    frames = [picture((*LEFT, RED))] * 20 + [strangers] * 20
    assert followed(frames) == "r" * 20 + "-" * 12 + "g" * 8


def test_a_person_who_fades_in_elsewhere_is_the_same_person():
    first, second = picture((*LEFT, RED)), picture((*RIGHT, RED))
    frames = [first] * 10 + [picture((*LEFT, RED), (*RIGHT, RED))] * 5 + [second] * 10
    assert followed(frames) == "r" * 25


def test_frames_that_can_be_iterated_only_once_are_refused():
    with pytest.raises(TypeError, match="twice"):
        follow(iter([picture()]), (0,), "largest", observe)
