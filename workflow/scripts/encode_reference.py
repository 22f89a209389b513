"""Encode a reference image with the image encoder of a model folder, for the sampler to read."""

from pathlib import Path

from animate.devices.parent import die_with_parent
from animate.errors import ClipError
from animate.model.unused_libraries import spare_imports
from animate.sampling.reference import PROBLEM
from animate.stage import run_stage, stage_parser


def main(args) -> None:
    """Write the features of the image, fitted to the frames' size, to `--output`."""
    die_with_parent()
    # Imported here so that a wrong call does not wait for torch.
    spare_imports()
    from safetensors.torch import save_file

    from animate.model.image import FEATURES, reference_features

    try:
        features = reference_features(args.model, args.reference, args.width, args.height)
    except ClipError as error:
        args.output.with_suffix(PROBLEM).write_text(str(error), "utf-8")
        raise
    save_file({FEATURES: features.contiguous()}, args.output)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--reference", type=Path, required=True, help="src_ref.png of the clip")
    for side in ("width", "height"):
        parser.add_argument(f"--{side}", type=int, required=True, help="of the frames, in pixels")
    parser.add_argument("--output", type=Path, required=True, help=".safetensors file to write")
    run_stage(main, parser)
