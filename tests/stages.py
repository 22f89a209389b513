"""Run the script of a stage in this process, as its rule calls it."""

import importlib
from argparse import Namespace
from pathlib import Path

from animate.config.fields import Declared

ABSENT = (
    *("weights", "points", "excluded", "frame_shape", "reference", "reference_keypoints"),
    *("keep_size", "before", "clip_before", "conditioning_frames"),
    *("background", "drawn_reference"),
)
# What a preview shows where there is one.
SHOWN = ("keypoints", "people", "pose", "face", "person_mask", "mask", "sound", "clip")
SHOWN += ("bones", "edited_keypoints", "edited")


def stage(name: str, settings: Declared, **files: Path) -> None:
    """Run the script `name` on the CPU with these arguments; others are absent."""
    if name == "keypoints":
        files = {"people": files["output"].with_name("people.json")} | files
    absent = dict.fromkeys(ABSENT + SHOWN) | {"given": ()}
    args = Namespace(settings=settings, device="cpu", **(absent | files))
    importlib.import_module(name).main(args)
