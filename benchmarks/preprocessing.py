"""Measure frames per second and peak memory of each preprocessing stage.

`python benchmarks/preprocessing.py VIDEO` runs every stage in a process of its own on the
first frames of the video, and again on a clip of ten times as many made by repetition.
"""

import argparse
import json
import subprocess
import sys
import time
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from animate.matte import backend as matte
from animate.matte.grid import cells, spread, whole_cells
from animate.matte.growth import background, grow
from animate.matte.through_time import carried, steady
from animate.pose.backends import backend as pose
from animate.pose.drawing import draw_pose
from animate.pose.face import CROP_SIZE, crop_face, face_track
from animate.pose.gaps import bridge_gaps
from animate.pose.keypoints import Keypoints
from animate.results.preview.film import Played, write_film
from animate.results.preview.findings import Findings, find, watched_fit
from animate.results.preview.sheet import Shown, moments, write_sheet
from animate.video.files import (
    DrivingFrames,
    VideoWriter,
    read_at,
    read_frames,
    read_masks,
    read_masks_at,
    read_video,
)
from animate.video.letterbox import Letterbox
from animate.video.timeline import Timeline, make_timeline

SIZE = (1280, 720)
MASKS = {"person_mask": "person_mask.mp4", "mask": "src_mask.mp4"}
REPEATS = 10


class Stages:
    """The stages of one clip in a folder, each by its name, returning the frames it handled."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.video = folder, folder / "clip.mp4"

    def _timeline(self) -> Timeline:
        return Timeline.from_json(self.folder / "timeline.json")

    def _writer(self, name: str, quality: str, size: tuple[int, int] = SIZE) -> VideoWriter:
        return VideoWriter(self.folder / name, size, self._timeline().frame_rate, quality)

    def timeline(self) -> int:
        timeline = make_timeline(self.video, resolution_area=SIZE[0] * SIZE[1])
        timeline.to_json(self.folder / "timeline.json")
        return timeline.frame_count

    def keypoints(self) -> int:
        timeline = self._timeline()
        frames = DrivingFrames(self.video, timeline)
        keypoints = pose("mediapipe").detect(frames, shots=timeline.shots)
        keypoints = bridge_gaps(keypoints, float(timeline.frame_rate), timeline.shots)
        keypoints.save(self.folder / "keypoints.npz")
        return len(keypoints)

    def src_pose(self) -> int:
        keypoints = Keypoints.load(self.folder / "keypoints.npz")
        place = Letterbox(SIZE, SIZE)
        parts = [
            place.points(p) for p in (keypoints.body, keypoints.left_hand, keypoints.right_hand)
        ]
        with self._writer("src_pose.mp4", "drawing") as video:
            for body, left, right in zip(*parts, strict=True):
                video.write(draw_pose(SIZE, body, left, right))
        return len(keypoints)

    def src_face(self) -> int:
        timeline = self._timeline()
        keypoints = Keypoints.load(self.folder / "keypoints.npz")
        boxes = face_track(keypoints, SIZE, float(timeline.frame_rate), timeline.shots)
        with self._writer("src_face.mp4", "picture", (CROP_SIZE, CROP_SIZE)) as video:
            for frame, box in zip(read_frames(self.video, timeline), boxes, strict=True):
                video.write(crop_face(frame, box))
        return len(keypoints)

    def person_mask(self) -> int:
        keypoints = Keypoints.load(self.folder / "keypoints.npz")
        body = Letterbox(SIZE, SIZE).points(keypoints.body)
        frames = read_frames(self.video, self._timeline())
        with self._writer("person_mask.mp4", "mask") as video:
            found = matte("mediapipe").masks(frames, body)
            for mask in carried(found, body, keypoints.found, (0,), 12):
                video.write(mask * 255)
        return len(body)

    def src_mask(self) -> int:
        count = 0
        with self._writer("src_mask.mp4", "mask") as video:
            for mask in steady(read_masks(self.folder / "person_mask.mp4"), (0,)):
                count += 1
                grown = grow(mask, iterations=3, kernel=7, w_len=1, h_len=1)
                video.write(whole_cells(grown) * 255)
        return count

    def src_bg(self) -> int:
        timeline = self._timeline()
        masks = read_masks(self.folder / "src_mask.mp4")
        with self._writer("src_bg.mp4", "picture") as video:
            for frame, mask in zip(read_frames(self.video, timeline), masks, strict=True):
                video.write(background(frame, spread(cells(mask))))
        return timeline.frame_count

    def preview(self) -> int:
        found = self._found()
        at = moments(found)
        read = {"driving": read_frames(self.video, found.timeline, at)}
        for name in ("pose", "face"):
            read[name] = read_at(self.folder / f"src_{name}.mp4", at)
        for name, file in MASKS.items():
            read[name] = read_masks_at(self.folder / file, at)
        write_sheet(self.folder / "preview.png", "clip", found, at, Shown(**read))
        return found.timeline.frame_count

    def preview_video(self) -> int:
        found = self._found()
        masks = {name: read_masks(self.folder / file) for name, file in MASKS.items()}
        played = Played(read_frames(self.video, found.timeline), **masks)
        write_film(self.folder / "preview.mp4", found, played, None)
        return found.timeline.frame_count

    def _found(self) -> Findings:
        timeline, keypoints = self._timeline(), Keypoints.load(self.folder / "keypoints.npz")
        fit = watched_fit(timeline, keypoints, self.folder / "src_mask.mp4")
        segments = range(0, timeline.frame_count, 76)
        return find(timeline, keypoints, fit, None, segments, smooth=True)


TOGETHER = (
    ("timeline",),
    ("keypoints",),
    ("src_pose", "src_face"),
    ("person_mask",),
    ("src_mask",),
    ("src_bg",),
    ("preview",),
    ("preview_video",),
)
STAGES = tuple(name for names in TOGETHER for name in names)
TO_POSE_AND_FACE = TOGETHER[:3]


def peak_memory() -> float:
    """Return the peak of this program in MB; getrusage would count its parent's before it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def run_stage(folder: Path, name: str) -> None:
    """Run one stage and print its frames, seconds of time and of the cores, and peak memory in MB.

    Imports are left out of both times.
    """
    begin, busy = time.perf_counter(), time.process_time()
    frames = getattr(Stages(folder), name)()
    result = {
        "frames": frames,
        "seconds": time.perf_counter() - begin,
        "core_seconds": time.process_time() - busy,
        "memory": peak_memory(),
    }
    print(json.dumps(result))


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Run all stages in a folder with a clip, each in a new process; two together as in a run."""
    results = {}
    for names in TOGETHER:
        running = {name: start_stage(folder, name) for name in names}
        for name, process in running.items():
            results[name] = json.loads(process.communicate()[0].splitlines()[-1])
    return results


def start_stage(folder: Path, name: str) -> subprocess.Popen:
    """Start a stage in a process of its own."""
    command = [sys.executable, __file__, "--stage", name, "--folder", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def write_clip(path: Path, source: Path, frames: int, count: int) -> None:
    """Write the first `frames` frames of `source` at 1280x720, repeated up to `count`."""
    place = None
    with VideoWriter(path, SIZE, Fraction(25)) as video:
        for frame in islice(cycle(list(islice(read_video(source), frames))), count):
            place = place or Letterbox(frame.shape[1::-1], SIZE)
            video.write(place.image(frame))


def main(source: Path, frames: int) -> None:
    """Print the table of one clip and of the same clip ten times as long."""
    with TemporaryDirectory() as name:
        tables = []
        for repeats in (1, REPEATS):
            folder = Path(name) / str(repeats)
            folder.mkdir()
            write_clip(folder / "clip.mp4", source, frames, frames * repeats)
            tables.append(measure(folder))
    short, long = tables
    more = frames * REPEATS
    print(f"| stage | frames/s | core-ms/frame | MB, {frames} frames | MB, {more} | ratio |")
    print("|---|---|---|---|---|---|")
    for stage in STAGES:
        seconds, busy = long[stage]["seconds"], long[stage]["core_seconds"]
        before, after = short[stage]["memory"], long[stage]["memory"]
        print(
            f"| {stage} | {more / seconds:.1f} | {1000 * busy / more:.1f}"
            f" | {before:.0f} | {after:.0f} | {after / before:.2f} |"
        )
    seconds = sum(max(long[stage]["seconds"] for stage in names) for names in TO_POSE_AND_FACE)
    print(f"\ntimeline, keypoints, src_pose and src_face together: {more / seconds:.1f} frames/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.stage:
        run_stage(args.folder, args.stage)
    else:
        main(args.video, args.frames)
