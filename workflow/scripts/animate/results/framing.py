"""How alike driving video and reference are framed: what spoils results of a driven model most."""

from dataclasses import dataclass

import numpy as np

from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.keypoints import Keypoints

# More black than this around the driving frames is named, and a person that is so many times as
# large, or whose middle is so far away, as a share of the frame's side.
MOST_BARS, MOST_SIZE, MOST_OFFSET = 0.1, 1.5, 0.2
# Neck and hips: their distance is a person's size, wherever the frame cuts them off.
NECK, HIPS = 1, (8, 11)
SHOULDERS = (2, 5)
KNEES, ANKLES = (9, 12), (10, 13)
# What is seen of a person, the most first.
SEEN = (("feet", ANKLES), ("knees", KNEES), ("hips", HIPS), ("shoulders", SHOULDERS))


@dataclass(frozen=True)
class Place:
    """Where a person is in the model's frame, in shares of its sides.

    `middle` (x, y) is between the shoulders, `shoulders` their distance as a share of the frame's
    height, `lowest` the lowest part that is seen.
    """

    middle: tuple[float, float]
    shoulders: float
    torso: float | None
    lowest: str


def place_of(keypoints: Keypoints, size: tuple[int, int]) -> Place | None:
    """Return where the person of a picture of one frame is, None where nobody is found.

    `size` is (width, height) of the picture.
    """
    body = keypoints.body[0]
    seen = body[:, 2] >= SCORE_THRESHOLD
    if not keypoints.found[0] or not seen[list(SHOULDERS)].all():
        return None
    points = body[:, :2] * size
    middle = points[list(SHOULDERS)].mean(axis=0)
    torso = None
    if seen[list(HIPS)].all():
        torso = float(np.linalg.norm(points[list(HIPS)].mean(axis=0) - middle) / size[1])
    width = float(np.linalg.norm(np.subtract(*points[list(SHOULDERS)])) / size[1])
    lowest = next(name for name, parts in SEEN if seen[list(parts)].any())
    return Place(tuple((middle / size).tolist()), width, torso, lowest)


def framing_figures(
    black: float, driving: Place | None, reference: Place | None
) -> dict[str, float]:
    """Return what there is to compare, as figures.

    `driving_bars` is the black share of the driving frames. `person_size`: how many times as large
    as in the reference the driving person is at the clip's start; `person_offset`: how far from
    there, as a share of the frame's side. Without a person in one of them the last two are absent.
    """
    figures = {"driving_bars": round(black, 3)}
    if driving and reference:
        figures["person_size"] = round(_ratio(driving, reference), 2)
        away = np.abs(np.subtract(driving.middle, reference.middle)).max()
        figures["person_offset"] = round(float(away), 2)
    return figures


def framing_problems(
    figures: dict[str, float],
    driving: Place | None,
    reference: Place | None,
    shapes: tuple[tuple[int, int], tuple[int, int]],
) -> dict[str, str]:
    """Return in sentences where the framing differs, and what to do; `shapes` are both sizes.

    These are (width, height) of driving video and reference.
    """
    found = {}
    if figures["driving_bars"] > MOST_BARS:
        wide, tall = ("{}x{}".format(*shape) for shape in shapes)
        found["bars"] = (
            f"The driving video has {wide} pixels and the reference {tall}, so black bars take"
            f" {100 * figures['driving_bars']:.0f}% of the driving frames: crop one of them to the"
            " shape of the other."
        )
    if not (driving and reference):
        where = "driving video's first frame" if reference else "reference"
        if not (driving or reference):
            where += " or the driving video's first frame"
        found["nobody"] = (
            f"Nobody is found in the {where}, so the framing of both is not compared: look at"
            " preview.png."
        )
        return found
    size = figures["person_size"]
    if max(size, 1 / max(size, 1e-6)) > MOST_SIZE:
        found["size"] = (
            f"The driving person is {size:.2g} times as large as the reference's: crop one of the"
            " two, so that both are framed alike."
        )
    if figures["person_offset"] > MOST_OFFSET:
        found["place"] = (
            f"The driving person begins {100 * figures['person_offset']:.0f}% of the frame away"
            " from where the reference's is: crop one of the two, or choose another start."
        )
    if driving.lowest != reference.lowest:
        found["cut"] = (
            f"The driving frames show the person down to the {driving.lowest}, the reference down"
            f" to the {reference.lowest}: take a reference that shows as much."
        )
    return found


def _ratio(driving: Place, reference: Place) -> float:
    """Return how many times as large the driving person is."""
    if driving.torso and reference.torso:
        return driving.torso / reference.torso
    return driving.shoulders / max(reference.shoulders, 1e-6)
