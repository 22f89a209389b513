"""Encode a clip's reference image with the image encoder of a model folder, for the sampler."""

from pathlib import Path

from animate.model.unused_libraries import spare_imports
from animate.stage import run_stage, stage_parser
from animate.video.timeline import Timeline


def main(args) -> None:
    """Write the features of the image, fitted to the size of the clip's frames, to `--output`."""
    # Imported here so that a wrong call does not wait for torch.
    spare_imports()
    from animate.model.image import reference_features, save_features

    size = Timeline.from_json(args.timeline).model_size
    save_features(args.output, reference_features(args.model, args.reference, *size))


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--reference", type=Path, required=True, help="src_ref.png of the clip")
    parser.add_argument("--timeline", type=Path, required=True, help="timeline.json of the clip")
    parser.add_argument("--output", type=Path, required=True, help=".safetensors file to write")
    run_stage(main, parser)
