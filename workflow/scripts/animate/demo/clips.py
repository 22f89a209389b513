"""The demo's clips, made from a public-domain photograph so that pose and face really move."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from animate.atomic import atomic_output
from animate.demo.photograph import open_mouth, photograph
from animate.video.files import REPEATABLE

FRAME_SIZE = 480, 480
FRAME_RATE = 25
FRAMES = 75
SOUND_RATE = 48_000
# One thread, as x264 makes other bytes of the same frames with more: a machine's number is its own.
ENCODER = {"crf": "18", "threads": "1"} | REPEATABLE
# What the person turns about, in pixels of the photograph.
PIVOT = 225, 190


def write_demo(folder: Path) -> None:
    """Write driving.mp4 (3 s, 25 fps, with sound), character.png and clips.csv into `folder`.

    Files that exist are left alone. The photograph is scikit-image's `astronaut` (NASA).
    """
    folder.mkdir(parents=True, exist_ok=True)
    makers = {"driving.mp4": write_driving_video, "character.png": write_character}
    for name, make in (makers | {"clips.csv": write_table}).items():
        if not (folder / name).exists():
            with atomic_output(folder / name) as temporary:
                make(temporary)


def write_table(path: Path) -> None:
    """Write the demo's table: the same clip once in each mode."""
    rows = ["clip,video,reference,mode"]
    rows += [f"demo-{mode},driving.mp4,character.png,{mode}" for mode in ("animate", "replace")]
    path.write_text("\n".join(rows) + "\n", "utf-8")


def write_character(path: Path) -> None:
    """Write the reference image: the photograph in portrait shape, with other colours."""
    recoloured = photograph()[:, 44:412, ::-1]
    cv2.imwrite(str(path), cv2.cvtColor(recoloured, cv2.COLOR_RGB2BGR))


def write_driving_video(path: Path) -> None:
    """Write the photograph moved, turned and zoomed, with sine tones; always the same bytes."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FRAME_RATE, options=ENCODER)
        video.width, video.height = FRAME_SIZE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=SOUND_RATE)
        audio.layout = "mono"
        for picture in moving_photograph():
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        container.mux(audio.encode(_melody()))
        container.mux(audio.encode(None))


def moving_photograph() -> Iterator[np.ndarray]:
    """Yield FRAMES pictures (480, 480, 3) uint8 RGB of the swaying photograph.

    She goes round once, as slowly as the scenes do that the demo's model was trained on
    (tools/train_demo/scenes.py), and opens and closes her mouth.
    """
    for phase in np.linspace(0, 2 * np.pi, FRAMES, endpoint=False):
        picture = open_mouth(photograph(), 0.4 - 0.4 * np.cos(phase))
        zoom = FRAME_SIZE[1] / 512 * (1.1 + 0.08 * np.sin(phase + 1))
        move = cv2.getRotationMatrix2D(PIVOT, 8 * np.sin(phase + 2), zoom)
        move[:, 2] += np.array((240 + 40 * np.sin(phase), 226 + 18 * np.cos(phase))) - PIVOT
        yield cv2.warpAffine(picture, move, FRAME_SIZE, borderMode=cv2.BORDER_REPLICATE)


def _melody() -> av.AudioFrame:
    """Return three seconds of mono sound, one tone a half second."""
    seconds = np.arange(SOUND_RATE * FRAMES // FRAME_RATE) / SOUND_RATE
    pitches = np.array([262, 330, 392, 523, 392, 330])[(seconds * 2).astype(int)]
    tone = 0.2 * np.sin(2 * np.pi * pitches * seconds) * np.minimum(1, 20 * (seconds % 0.5))
    frame = av.AudioFrame.from_ndarray(tone.astype(np.float32)[None], "fltp", "mono")
    frame.sample_rate = SOUND_RATE
    frame.time_base = Fraction(1, SOUND_RATE)
    frame.pts = 0
    return frame
