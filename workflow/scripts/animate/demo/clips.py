"""The demo's clips, made from a public-domain photograph so that pose and face really move."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from skimage.data import astronaut

from animate.atomic import atomic_output

FRAME_SIZE = 480, 480
FRAME_RATE = 25
FRAMES = 75
SOUND_RATE = 48_000


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
    """Write the reference image: the photograph mirrored, in portrait shape, with other colours."""
    mirrored = np.ascontiguousarray(astronaut()[:, ::-1])[:, 72:440]
    recoloured = mirrored[..., [2, 1, 0]]
    cv2.imwrite(str(path), cv2.cvtColor(recoloured, cv2.COLOR_RGB2BGR))


def write_driving_video(path: Path) -> None:
    """Write the photograph moved, turned and zoomed, with a melody of sine tones."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FRAME_RATE, options={"crf": "18"})
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
    """Yield FRAMES pictures (480, 480, 3) uint8 RGB of the swaying photograph."""
    photograph = astronaut()
    for phase in np.linspace(0, 2 * np.pi, FRAMES, endpoint=False):
        zoom = 1.2 + 0.1 * np.sin(phase)
        turn = cv2.getRotationMatrix2D((225, 150), 9 * np.sin(2 * phase), zoom)
        turn[:, 2] += (15 + 40 * np.sin(phase), 15 + 15 * np.cos(2 * phase))
        yield cv2.warpAffine(photograph, turn, FRAME_SIZE, borderMode=cv2.BORDER_REFLECT)


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
