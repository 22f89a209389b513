"""Wan2.2-Animate: reads a drawn pose, face crops and, in replacement, the scene and a mask."""

from dataclasses import replace

from animate.config.models.declared import POSED, GenerationModel, Speed

WAN_ANIMATE = GenerationModel(
    "wan2.2-animate-14b",
    kind=POSED,
    modes=("animate", "replace"),
    unread=frozenset({"driving_prompt", "log_scale"}),
    own_files=True,
    speed=Speed(attention=8.24, linear=2.96),
)
POSED_MODELS = (
    WAN_ANIMATE,
    replace(WAN_ANIMATE, name="wan2.2-animate-14b-original", one_file=False),
    replace(
        WAN_ANIMATE,
        name="tiny",
        notice="The tiny model has random weights: its videos are noise by design.",
    ),
    replace(
        WAN_ANIMATE,
        name="demo",
        notice="The demo's model was trained on one photograph: it animates that person, moved and"
        " recoloured as a whole, and nothing else.",
    ),
)
