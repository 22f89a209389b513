"""What was found in the two edited pictures: bone lengths, or why they are of no use."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animate.atomic import atomic_output
from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.keypoints import Keypoints
from animate.pose.retarget import StandardBones, bone_lengths

REFERENCE, DRIVER = "reference", "driving frame"
SHOULDERS = (2, 5)
# What an edit may lose, by the joints of each side that show it.
PARTS = {
    "face": ((0,),),
    "arms": ((2, 3, 4), (5, 6, 7)),
    "legs": ((8, 9, 10), (11, 12, 13)),
}


@dataclass(frozen=True)
class Outcome:
    """The lengths of the bones, and of each edited picture without a usable pose what is wrong."""

    bones: StandardBones
    problems: dict[str, str]

    @property
    def usable(self) -> float:
        """The share of the two pictures with a usable pose: 0, 0.5 or 1."""
        return 1 - len(self.problems) / 2

    def to_json(self, path: Path) -> None:
        """Write retarget.json."""
        record = {
            "frame": self.bones.frame,
            "driver": _or_null(self.bones.driver),
            "reference": _or_null(self.bones.reference),
            "problems": self.problems,
        }
        with atomic_output(path) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")

    @classmethod
    def from_json(cls, path: Path) -> "Outcome":
        """Read what `to_json` wrote."""
        record = json.loads(path.read_text("utf-8"))
        lengths = (np.array(record[who], float) for who in ("driver", "reference"))
        return cls(StandardBones(record["frame"], *lengths), record["problems"])


def usable_bones(path: Path | None) -> StandardBones | None:
    """Return the bones of a retarget.json, None where there is none or a picture is of no use."""
    outcome = Outcome.from_json(path) if path else None
    return outcome.bones if outcome and not outcome.problems else None


def judge_pictures(
    frame: int,
    driver: Keypoints,
    driver_size: tuple[int, int],
    reference: Keypoints,
    reference_size: tuple[int, int],
    edited: Keypoints,
) -> Outcome:
    """Return what the edited pictures show.

    `driver` and `reference` are what was found before, of the driving frame number `frame` and of
    the reference; `edited` is a clip of two frames, the edited reference and the edited driving
    frame. Each has one body, in 0..1 of a picture of the (width, height) of the unedited one.
    """
    lost = {
        REFERENCE: _lost(reference.body[0], edited.body[0]),
        DRIVER: _lost(driver.body[0], edited.body[1]),
    }
    bones = StandardBones(
        frame,
        bone_lengths(edited.body[1], driver_size),
        bone_lengths(edited.body[0], reference_size),
    )
    return Outcome(bones, {which: problem for which, problem in lost.items() if problem})


def _lost(before: np.ndarray, after: np.ndarray) -> str:
    """Return what an edited body (20, 3) lacks, "" when it can be measured."""
    seen, seen_before = (body[:, 2] >= SCORE_THRESHOLD for body in (after, before))
    if not seen.any():
        return "it shows no person"
    if not seen[list(SHOULDERS)].all():
        return "it does not show both shoulders"
    lost = [
        part
        for part, sides in PARTS.items()
        if any(seen_before[list(side)].all() for side in sides)
        and not any(seen[list(side)].all() for side in sides)
    ]
    return f"it lost the {' and the '.join(lost)}" if lost else ""


def _or_null(lengths: np.ndarray) -> list[float | None]:
    return [round(float(length), 3) if np.isfinite(length) else None for length in lengths]
