"""The person of made clips with cuts, blur and flashes is found as often as frame by frame."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from animate.pose.backends import backend
from animate.pose.backends.blazepose import PersonDetector, PersonNetworks
from animate.pose.backends.mediapipe import SHOULDERS
from animate.pose.gaps import bridge_gaps
from animate.pose.keypoints import Keypoints
from animate.pose.person import choose
from animate.video.files import read_frames
from animate.video.timeline import make_timeline

CLIPS = Path(__file__).parents[2].parent / "shared" / "clips"
COUNT, RATE, WIDTH = 48, 12, 480
NECK, SHOULDER_POINTS = 1, (2, 5)
# How far the neck may lie from where it is, in units of the shoulders' width.
NEAR = 0.5


@dataclass(frozen=True)
class Scene:
    """Frames (N, h, w, 3), the neck's place (N, 2) in 0..1, the shoulders' width (N,) in units of
    the frame's, and the shots' first frames."""

    frames: np.ndarray
    necks: np.ndarray
    widths: np.ndarray
    shots: tuple[int, ...] = (0,)
    # In a dissolve, where the neck is that fades away or comes.
    others: np.ndarray | None = None

    def part(self, frames: slice) -> "Scene":
        """Return some of the frames."""
        return Scene(self.frames[frames], self.necks[frames], self.widths[frames])

    def seen_as(self, change: Callable[[np.ndarray], np.ndarray], place: np.ndarray) -> "Scene":
        """Return the scene with every frame changed; `place` (2, 3) moves points in 0..1."""
        frames = np.array([change(frame) for frame in self.frames])
        necks, widths = self.necks @ place[:, :2].T + place[:, 2], self.widths * place[1, 1]
        return Scene(frames, necks, widths)

    def zoomed(self, factor: float, x: float, y: float) -> "Scene":
        """Return what is around (x, y), in 0..1, enlarged to the whole frame."""
        height, width = self.frames.shape[1:3]
        left, top = (min(max(c - 0.5 / factor, 0), 1 - 1 / factor) for c in (x, y))
        place = np.array([[factor, 0, -factor * left], [0, factor, -factor * top]])
        warp = place * [[1, width / height, width], [height / width, 1, height]]
        size = (width, height)
        return self.seen_as(lambda frame: cv2.warpAffine(frame, warp, size), place)

    def mirrored(self) -> "Scene":
        """Return the scene as in a mirror."""
        return self.seen_as(lambda frame: frame[:, ::-1], np.array([[-1, 0, 1], [0, 1, 0]]))


def joined(scenes: list[Scene]) -> Scene:
    """Return scenes one after the other, as one shot."""
    parts = ("frames", "necks", "widths")
    return Scene(*(np.concatenate([getattr(scene, part) for scene in scenes]) for part in parts))


def cut(*parts: tuple[Scene, int]) -> Scene:
    """Return scenes one after the other, of each as many frames as are given, at the same time."""
    ends = np.cumsum([count for _, count in parts]).tolist()
    starts = (0, *ends[:-1])
    pieces = [scene.part(slice(a, b)) for (scene, _), a, b in zip(parts, starts, ends, strict=True)]
    return replace(joined(pieces), shots=starts)


def zooming(scene: Scene) -> Scene:
    """Return the scene with a camera that zooms in evenly, three times at the end."""
    factors = np.linspace(1, 3, COUNT)
    steps = [scene.part(slice(n, n + 1)).zoomed(f, 0.6, 0.35) for n, f in enumerate(factors)]
    return joined(steps)


def dissolving(first: Scene, second: Scene, start: int = 20, stop: int = 28) -> Scene:
    """Return a scene that becomes the other one from frame `start` to `stop`, known as no cut."""
    share = np.interp(np.arange(COUNT), (start, stop), (0, 1))[:, None, None, None]
    frames = ((1 - share) * first.frames + share * second.frames).astype(np.uint8)
    necks = np.where(share[:, 0, 0] < 0.5, first.necks, second.necks)
    others = np.where(share[:, 0, 0] < 0.5, second.necks, first.necks)
    others[(share == 0).ravel() | (share == 1).ravel()] = np.nan
    return Scene(frames, necks, first.widths, others=others)


def changed(scene: Scene, frames: range, change: Callable[[np.ndarray], np.ndarray]) -> Scene:
    """Return the scene with some of its frames changed."""
    pictures = scene.frames.copy()
    pictures[frames] = [change(picture) for picture in pictures[frames]]
    return replace(scene, frames=pictures)


def blurred(frame: np.ndarray) -> np.ndarray:
    return cv2.blur(frame, (WIDTH // 5, 1))


def flash(frame: np.ndarray) -> np.ndarray:
    return cv2.add(frame, np.full_like(frame, 230))


CASES: dict[str, Callable[[Scene, Scene], Scene]] = {
    "one person": lambda talk, market: talk,
    "one among others": lambda talk, market: market,
    "cut there and back": lambda talk, market: cut(
        (talk, 16), (talk.zoomed(3, 0.55, 0.35), 16), (talk, 16)
    ),
    **{
        f"close-up, {factor} times": lambda talk, market, factor=factor: cut(
            (talk, 12), (talk.zoomed(factor, 0.6, 0.35), 36)
        )
        for factor in (2, 3, 4)
    },
    "other side": lambda talk, market: cut((talk, 20), (talk.zoomed(2, 0.8, 0.5), 28)),
    "mirrored": lambda talk, market: cut((talk, 18), (talk.mirrored(), 30)),
    "mirrored, no cut known": lambda talk, market: replace(
        cut((talk, 18), (talk.mirrored(), 30)), shots=(0,)
    ),
    "zoom": lambda talk, market: zooming(talk),
    "dissolve": lambda talk, market: dissolving(talk, talk.mirrored()),
    "dissolve, cut known": lambda talk, market: replace(
        dissolving(talk, talk.mirrored()), shots=(0, 24)
    ),
    "blurred": lambda talk, market: changed(talk, range(20, 25), blurred),
    "white flash": lambda talk, market: changed(talk, range(20, 23), flash),
    "two people": lambda talk, market: cut((talk, 12), (market, 12), (talk, 12), (market, 12)),
}
# Of 48 frames, those that may be without the person.
MISSED = {"cut there and back": 1}


@pytest.fixture(scope="module")
def scenes() -> tuple[Scene, Scene]:
    """The two clips, 48 frames of each, which show one person and one among others."""
    if not CLIPS.is_dir():
        pytest.skip("the shared clips are not beside the checkout")
    return tuple(load(CLIPS / f"{name}.mp4") for name in ("talking_head", "market_boy"))


def load(video: Path) -> Scene:
    timeline = make_timeline(video, resolution_area=832 * 480, fps=RATE, end=COUNT / RATE - 0.6)
    frames = [cv2.resize(frame, (WIDTH, 270)) for frame in read_frames(video, timeline)]
    frames = np.array((frames + frames[::-1])[:COUNT])
    body = bridge_gaps(backend("mediapipe").detect(frames), RATE).body
    assert (body[:, NECK, 2] >= 0.5).all()
    width, height = frames.shape[2], frames.shape[1]
    shoulders = np.diff(body[:, SHOULDER_POINTS, :2], axis=1)[:, 0] * (1, height / width)
    return Scene(frames, body[:, NECK, :2], np.full(COUNT, np.median(np.hypot(*shoulders.T))))


def frame_by_frame(frames: np.ndarray) -> np.ndarray:
    """Return the necks (N, 2) of the largest person of each frame, found in that alone, NaN if
    there is none: as the official code chooses."""
    necks = np.full((len(frames), 2), np.nan)
    with PersonDetector() as detector, PersonNetworks() as networks:
        for number, frame in enumerate(frames):
            people = [networks.person(frame, region) for region in detector.people(frame)]
            if people := [person for person in people if person]:
                boxes = np.array([person.visible for person in people])
                body = people[choose(boxes, frame.shape[1::-1], "largest")].body
                necks[number] = body[SHOULDERS, :2].mean(axis=0)
    return necks


def near(necks: np.ndarray, scene: Scene) -> np.ndarray:
    """Return in which frames the necks (N, 2) are the scene's."""
    height, width = scene.frames.shape[1:3]
    places = [scene.necks] if scene.others is None else [scene.necks, scene.others]
    apart = [np.linalg.norm((necks - place) * (1, height / width), axis=1) for place in places]
    return (np.array(apart) < NEAR * scene.widths).any(axis=0)


def drawn(keypoints: Keypoints) -> np.ndarray:
    """Return the necks (N, 2) as they are drawn, NaN where there is no pose."""
    return np.where(keypoints.shown[:, None], keypoints.body[:, NECK, :2], np.nan)


@pytest.mark.parametrize("name", CASES)
def test_the_right_person_is_found_at_least_as_often_as_frame_by_frame(name, scenes):
    scene = CASES[name](*scenes)
    keypoints = backend("mediapipe").detect(scene.frames, shots=scene.shots)
    right = near(drawn(bridge_gaps(keypoints, RATE, scene.shots)), scene)
    assert right.sum() >= COUNT - MISSED.get(name, COUNT)
    # Nothing is found more often than always.
    assert right.all() or right.sum() >= near(frame_by_frame(scene.frames), scene).sum()
