"""Between what the figures of the demo's results lie."""

# Between unspoiled results and what a spoiled input makes of a figure. Measured of two unspoiled
# runs of each mode: pose error 0.061 to 0.082; offsets -0.010 to -0.003 and -0.029 to 0.024 (0.056
# with a pose that is 8 pixels off); mouth 0.46 to 0.70 (-0.43 with another face); colour 2.7 to 4.6
# (28 with another reference); joins 1.4 to 2.0 (3.3 without conditioning frames); background 29.4
# dB (12 with the mask turned). Noise of untrained weights has a pose error of 1.1 or more.
BOUNDS = {
    "pose_error": (0, 0.12),
    "pose_offset_x": (-0.035, 0.035),
    "pose_offset_y": (-0.065, 0.065),
    "pose_shown": (0.9, 1),
    "mouth_in_step": (0.05, 1),
    "face_identity": (0.97, 1),
    "character_colour": (0, 10),
    "seams": (0, 2.5),
    "colour_drift": (0, 7),
}
KEPT_BACKGROUND = {"background_psnr": (26, 60), "background_ssim": (0.85, 1)}


def outside(figures: dict, mode: str) -> dict:
    """Return those figures of a result of that mode that are outside their bounds, or missing."""
    bounds = BOUNDS | (KEPT_BACKGROUND if mode == "replace" else {})
    return {
        name: figures[name]
        for name, (least, most) in bounds.items()
        if figures[name] is None or not least <= figures[name] <= most
    }
