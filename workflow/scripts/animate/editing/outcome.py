"""What was found in the two edited pictures: bone lengths, or why they are of no use."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animate.atomic import atomic_output
from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.keypoints import Keypoints
from animate.pose.retarget import AGREEMENT, CHILDREN, TRUE_LENGTH, StandardBones, bone_lengths

REFERENCE, DRIVER = "reference", "driving frame"
SHOULDERS = (2, 5)
# The bones that tell how large a person is, by their ends: those of the face, and the toes, are
# longer in pictures from the side.
SIZING = np.isin(CHILDREN, (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13))
# A person so many times as large, or as small, is measured too coarsely, or is somebody else.
SIZE_LIMIT = 2
UNEDITED = "no frame of the driving video shows the person's shoulders, so nothing was edited"
# What an edit may lose, by the joints of each side that show it.
PARTS = {
    "face": ((0,),),
    "arms": ((2, 3, 4), (5, 6, 7)),
    "legs": ((8, 9, 10), (11, 12, 13)),
}


@dataclass(frozen=True)
class Outcome:
    """The lengths of the bones, and of each edited picture without a usable pose what is wrong;
    and by picture how large the edit made the person, 1 where it kept the size."""

    bones: StandardBones
    problems: dict[str, str]
    sizes: dict[str, float]

    @property
    def usable(self) -> float:
        """The share of the two pictures with a usable pose: 0, 0.5 or 1."""
        return 1 - len(self.problems) / 2

    def to_json(self, path: Path) -> None:
        """Write retarget.json."""
        record = {
            "frame": self.bones.frame,
            "driver": list(map(_rounded, self.bones.driver)),
            "reference": list(map(_rounded, self.bones.reference)),
            "sizes": {which: _rounded(size) for which, size in self.sizes.items()},
            "problems": self.problems,
        }
        with atomic_output(path) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")

    @classmethod
    def from_json(cls, path: Path) -> "Outcome":
        """Read what `to_json` wrote."""
        record = json.loads(path.read_text("utf-8"))
        lengths = (np.array(record[who], float) for who in ("driver", "reference"))
        sizes = {which: float(size or "nan") for which, size in record["sizes"].items()}
        return cls(StandardBones(record["frame"], *lengths), record["problems"], sizes)

    @classmethod
    def unedited(cls) -> "Outcome":
        """Return the outcome where no driving frame can be edited."""
        nothing = np.full(len(CHILDREN), np.nan)
        problems = dict.fromkeys((REFERENCE, DRIVER), UNEDITED)
        return cls(StandardBones(0, nothing, nothing), problems, {})


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
    frame. Each has one body, in 0..1 of a picture of the (width, height) of the unedited one. The
    lengths are as large as the person is in the unedited pictures.
    """
    seen = {
        REFERENCE: (reference.body[0], edited.body[0], reference_size),
        DRIVER: (driver.body[0], edited.body[1], driver_size),
    }
    lengths, sizes, problems = {}, {}, {}
    for which, (before, after, size) in seen.items():
        long = bone_lengths(after, size)
        sizes[which] = _size(bone_lengths(before, size), long)
        # An edit may show the person nearer or farther away: only proportions come from it.
        lengths[which] = long / sizes[which]
        if problem := _lost(before, after) or _resized(sizes[which]):
            problems[which] = problem
    bones = StandardBones(frame, lengths[DRIVER], lengths[REFERENCE])
    return Outcome(bones, problems, sizes)


def _size(before: np.ndarray, after: np.ndarray) -> float:
    """Return how many times as large a person is after the edit as before, by the bones (19,) of
    both, NaN where no bone is in both.

    A bone may be foreshortened before, and then seems to have grown; so the size is that of the
    bones that have grown least, but for a few wrong points, and of those that agree with them.
    """
    shrunk = np.where(SIZING, before / after, np.nan)
    if not np.isfinite(shrunk).any():
        return np.nan
    most = np.nanquantile(shrunk, TRUE_LENGTH, method="nearest")
    alike = np.abs(np.log(shrunk / most)) < AGREEMENT
    return float(after[alike].sum() / before[alike].sum())


def _resized(size: float) -> str:
    if np.isnan(size):
        return "it shows no bone of the body that the unedited picture shows"
    return (
        ""
        if 1 / SIZE_LIMIT < size < SIZE_LIMIT
        else f"it shows the person {size:.2f} times as large"
    )


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


def _rounded(number: float) -> float | None:
    return round(float(number), 3) if np.isfinite(number) else None
