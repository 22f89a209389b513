"""Failures that a clip has behind it: of a stage that its row no longer has, or no longer needs."""

from contextlib import suppress
from pathlib import Path

from animate.results.provenance import read_json
from animate.results.verdict_states import BAD

# What the preview is made from, directly or not, and what users can bring in its place.
BEFORE_PREVIEW = {
    *("timeline", "reference", "driving", "keypoints", "pose_video", "face_video", "person_mask"),
    *("mask_points", "excluded_mask", "mask", "driving_frames", "reference_frame"),
    *("given_keypoints", "given_pose", "given_face", "given_mask"),
}


def overtaken(rule: str, failed: float, folder: Path) -> bool:
    """Tell whether a job's failure has no say any more, by the files of its clip's folder.

    The clip of a job of that `rule`, which failed at a time in seconds, has a preview made since
    though the job would come before it, or a verdict that is not bad though it was refused.
    """
    if rule in BEFORE_PREVIEW:
        return _made_since(folder / "preview.png", failed)
    verdict = folder / "verdict.json"
    if rule != "accept" or not _made_since(verdict, failed):
        return False
    with suppress(OSError, ValueError):
        return read_json(verdict).get("state") != BAD
    return False


def _made_since(path: Path, time: float) -> bool:
    return path.is_file() and path.stat().st_mtime > time
