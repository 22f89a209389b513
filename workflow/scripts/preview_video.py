"""Write the driving video with skeleton, boxes and mask over it, and with the clip's sound."""

import json
from pathlib import Path

from animate.config.settings import PreviewSettings
from animate.pose.keypoints import Keypoints
from animate.results.preview.film import Played, write_film
from animate.results.preview.findings import find, watched_fit
from animate.sampling.segments import segment_starts
from animate.stage import run_stage, stage_parser, tell
from animate.video.files import read_frames, read_masks, read_video
from animate.video.timeline import Timeline


def main(args):
    timeline, settings = Timeline.from_json(args.timeline), args.settings
    keypoints = Keypoints.load(args.keypoints) if args.keypoints else None
    fit = watched_fit(timeline, keypoints, args.mask) if args.mask else None
    segments = segment_starts(timeline.frame_count, timeline.shots, settings)
    found = find(timeline, keypoints, fit, args.people, segments, smooth=settings.smooth_face)
    played = Played(
        read_frames(args.video, timeline),
        # What was found is shown rather than what was drawn of it.
        read_video(args.pose) if args.pose and not keypoints else None,
        *(read_masks(path) if path else None for path in (args.person_mask, args.mask)),
    )
    track = json.loads(args.sound.read_text("utf-8"))["track"] if args.sound else None
    write_film(args.output, found, played, args.sound_source if track else None, track or 1)
    width, height = timeline.model_size
    tell(f"points and boxes are in pixels of {width} x {height}: see {args.output}")


if __name__ == "__main__":
    parser = stage_parser(__doc__, PreviewSettings)
    for name in ("video", "timeline", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("keypoints", "people", "pose", "person-mask", "mask", "sound", "sound-source"):
        parser.add_argument(f"--{name}", type=Path, nargs="?", help="shown where it is given")
    run_stage(main, parser)
