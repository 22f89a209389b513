"""A clip's frames, shot by shot, with the tracker that knows the person of each shot."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from animate.pose.keypoints import Keypoints, Parts, shot_slices, stack
from animate.pose.people.chosen import Chosen, ChosenTracker
from animate.pose.tracking import Tracker

# A frame, and the tracker of its shot.
Shown = tuple[np.ndarray, Tracker | ChosenTracker]
# Of each frame the parts of the person, None if not seen, and how many people are in sight.
Seen = tuple[Parts | None, int]


def follow(
    frames: Iterable[np.ndarray],
    shots: Sequence[int],
    person: str | Chosen,
    observe: Callable[[Iterator[Shown]], Iterable[Seen]],
) -> Keypoints:
    """Return what a backend observes of one person in a clip's frames, each uint8 RGB (h, w, 3).

    `shots` are the first frames of the clip's shots; in each the person is chosen anew, see
    `Tracker`, unless one of the numbered people is `Chosen`. `observe` goes through frames in order
    and calls the tracker of each once. `frames` are iterated a second time, as far as is needed,
    when a shot turns out to be another person's.
    """
    if iter(frames) is frames:
        raise TypeError("frames are needed that can be iterated twice")
    trackers: list[Tracker | ChosenTracker] = []
    seen = list(observe(_shown(frames, shots, person, trackers)))
    again: dict[int, Tracker] = {}
    for tracker, shot in zip(trackers, shot_slices(shots, len(seen)), strict=True):
        if second := tracker.second_look():
            again |= dict.fromkeys(range(shot.start, shot.stop), second)
    if again:
        wanted = enumerate(islice(frames, max(again) + 1))
        shown = ((frame, again[number]) for number, frame in wanted if number in again)
        for number, better in zip(again, observe(shown), strict=True):
            seen[number] = better
    return stack(*zip(*seen, strict=True))


def _shown(
    frames: Iterable[np.ndarray],
    shots: Sequence[int],
    person: str | Chosen,
    trackers: list[Tracker | ChosenTracker],
) -> Iterator[Shown]:
    """Yield each frame with its shot's tracker, and add that to `trackers`."""
    starts = set(shots)
    for number, frame in enumerate(frames):
        if number in starts:
            if isinstance(person, Chosen):
                trackers.append(ChosenTracker(person, number))
            else:
                trackers.append(Tracker(person, trackers[-1] if trackers else None))
        yield frame, trackers[-1]
