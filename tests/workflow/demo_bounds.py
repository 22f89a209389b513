"""Between what the figures of the demo's results lie."""

from math import inf

# Mean and standard deviation of the clips of seeds 0 to 7, sampled on an H200 in fp32.
MEASURED = {
    "animate": {
        "pose_error": (0.084, 0.023),
        "pose_offset_x": (-0.008, 0.0028),
        "pose_offset_y": (-0.035, 0.0067),
        "pose_shown": (0.973, 0.0036),
        "mouth_in_step": (0.402, 0.045),
        "face_identity": (0.9886, 0.0009),
        "character_colour": (3.5, 0.93),
        "seams_mean": (1.79, 0.061),
        "colour_drift": (4.22, 0.24),
    },
    "replace": {
        "pose_error": (0.059, 0.0023),
        "pose_offset_x": (-0.012, 0.0021),
        "pose_offset_y": (0.011, 0.0046),
        "pose_shown": (0.945, 0.0028),
        "mouth_in_step": (0.618, 0.065),
        "face_identity": (0.9929, 0.0017),
        "character_colour": (4.65, 0.81),
        "seams_mean": (2.04, 0.104),
        "colour_drift": (3.68, 0.37),
        "background_psnr": (29.36, 0.02),
        "background_ssim": (0.9276, 0.0001),
    },
}
# A figure may be so many standard deviations worse than the mean. What spoiled inputs make of one,
# least to most over the seeds 0 to 2, is beyond that (animate; replace; the bound in brackets):
# a pose 8 pixels off, offset x 0.065 to 0.071 [0.012]; 0.054 to 0.057 [0.008]
# another face, mouth -0.76 to -0.66 [0.18]; -0.73 to -0.58 [0.29]
# another reference, colour 40 to 44 [8.2]; 34 to 44 [8.7]
# no conditioning frames, mean join 3.33 to 3.45 [2.10]; 2.64 to 2.71 [2.56]
# the mask turned, background 11.5 to 11.6 dB [27.9]
SPREADS = 5
# What seeds hardly change differs more with another training or another encoding of the film.
LEAST_SPREAD = {
    "pose_error": 0.005,
    "pose_offset_x": 0.004,
    "pose_offset_y": 0.005,
    "pose_shown": 0.005,
    "face_identity": 0.002,
    "background_psnr": 0.3,
    "background_ssim": 0.008,
}
# Of the others 0 is the best, from either side.
HIGH_IS_GOOD = (
    *("pose_shown", "mouth_in_step", "face_identity"),
    *("background_psnr", "background_ssim"),
)


def bounds(mode: str) -> dict[str, tuple[float, float]]:
    """Return the least and the most that each figure of a result of that mode may be."""
    found = {}
    for name, (mean, spread) in MEASURED[mode].items():
        reach = SPREADS * max(spread, LEAST_SPREAD.get(name, 0))
        if name in HIGH_IS_GOOD:
            found[name] = mean - reach, inf
        else:
            found[name] = min(mean - reach, 0), max(mean + reach, 0)
    return found


def outside(figures: dict, mode: str) -> dict:
    """Return those figures of a result of that mode that are outside their bounds, or missing."""
    return {
        name: figures[name]
        for name, (least, most) in bounds(mode).items()
        if figures[name] is None or not least <= figures[name] <= most
    }
