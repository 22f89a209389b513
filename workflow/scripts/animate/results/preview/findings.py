"""What preprocessing found in a clip, as sheet and video show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animate.pose.face import face_track
from animate.pose.keypoints import Keypoints
from animate.results.preview.figures import MaskFit, faults, states
from animate.results.preview.people import Person, read_people
from animate.video.files import read_masks
from animate.video.letterbox import Letterbox
from animate.video.timeline import Timeline


@dataclass(frozen=True)
class Findings:
    """What is known of a clip of N frames.

    Of a clip whose pose was given there may be no `keypoints`, and then no `face_boxes`, int
    (N, 4) in pixels of the upright driving frame. `segments` are the first frames of each;
    `states` and `faults` are those of `figures`, by name, each (N,).
    """

    timeline: Timeline
    keypoints: Keypoints | None
    face_boxes: np.ndarray | None
    people: Sequence[Person]
    segments: Sequence[int]
    states: dict[str, np.ndarray]
    faults: dict[str, np.ndarray]

    def seconds(self, frame: int) -> float:
        """Return when a frame is shown, in seconds of the clip."""
        return float(frame / self.timeline.frame_rate)

    def people_at(self, frame: int, frames: int = 0) -> list[Person]:
        """Return whose boxes were taken in a frame, or up to so many before it in its shot."""
        first = max(shot for shot in self.timeline.shots if shot <= frame)
        first = max(first, frame - frames)
        return [person for person in self.people if first <= person.frame <= frame]


def mask_fit(timeline: Timeline, keypoints: Keypoints | None) -> MaskFit:
    """Return what watches the masks of a clip, which have the model's size."""
    if keypoints is None:
        return MaskFit(np.zeros((timeline.frame_count, 20, 3)))
    place = Letterbox(timeline.source_size, timeline.model_size)
    return MaskFit(place.points(keypoints.body))


def find(
    timeline: Timeline,
    keypoints: Keypoints | None,
    mask: MaskFit | None,
    people: Path | None,
    segments: Sequence[int],
    *,
    smooth: bool,
) -> Findings:
    """Return the findings of a clip, whose face crops are smooth or not.

    `mask` has watched its masks, or is None of a clip without any; `people` is their file.
    """
    size, rate, shots = timeline.source_size, float(timeline.frame_rate), timeline.shots
    boxes = None
    if keypoints is not None:
        boxes = face_track(keypoints, size, rate, shots, smooth=smooth)
    return Findings(
        timeline,
        keypoints,
        boxes,
        read_people(people),
        segments,
        states(keypoints, mask),
        faults(keypoints, mask, size, rate, shots),
    )


def watched_fit(timeline: Timeline, keypoints: Keypoints | None, masks: Path) -> MaskFit:
    """Return a `mask_fit` that has watched a whole mask video."""
    fit = mask_fit(timeline, keypoints)
    for _ in fit.watch(read_masks(masks)):
        pass
    return fit
