"""Edit the reference, or the driving frame that shows the person best, into a standard pose."""

from pathlib import Path

from PIL import Image

from animate.atomic import atomic_output
from animate.config.settings import EditSettings
from animate.editing.driving_frame import best_frame
from animate.pose.detector_gpu import detector_gpu
from animate.pose.keypoints import Keypoints
from animate.pose.retarget import require_neck
from animate.stage import run_stage, stage_parser, warn
from animate.video.files import read_frames
from animate.video.reference import load_reference
from animate.video.timeline import Timeline


def main(args):
    keypoints = Keypoints.load(args.keypoints)
    require_neck(Keypoints.load(args.reference_keypoints))
    frame = best_frame(keypoints)
    if args.reference:
        picture = load_reference(args.reference)
    else:
        timeline = Timeline.from_json(args.timeline)
        [picture] = read_frames(args.video, timeline, [frame or 0])
    # Without a frame to edit there is nothing to compare, and `edited_pose` says so.
    edited = picture if frame is None else edit(picture, keypoints, args)
    with atomic_output(args.output) as temporary:
        Image.fromarray(edited).save(temporary)


def edit(picture, keypoints, args):
    with detector_gpu("flux", args.device):
        # Imported here so that PyTorch finds the GPU that is held.
        from animate.editing.editor import Editor, into_standard_pose

        editor = Editor(args.model, args.prompts, args.settings, args.device)
        if editor.unread:
            warn(f"the editor {args.model} does not take {' and '.join(editor.unread)}")
        return into_standard_pose(picture, keypoints, editor)


if __name__ == "__main__":
    parser = stage_parser(__doc__, EditSettings)
    for name in ("keypoints", "reference-keypoints", "model", "prompts", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("reference", "video", "timeline"):
        parser.add_argument(f"--{name}", type=Path, help="the picture, or where the frame is")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run_stage(main, parser)
