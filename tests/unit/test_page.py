"""The report's page: small enough to open inside the report, whatever the videos are."""

import re
from base64 import b64decode
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from animate.editing.outcome import UNEDITED
from animate.results.page import PREVIEW_SECONDS, render_page
from animate.video.files import VideoWriter, read_video
from animate.video.timeline import make_timeline

# 2 MiB of base64 text, as Chromium allows for an address.
LARGEST_PAGE = 2 * 1024 * 1024 * 3 // 4


def write_noise(path, frames):
    random = np.random.default_rng(0)
    with VideoWriter(path, (240, 192), Fraction(25)) as video:
        for _ in range(frames):
            video.write(random.integers(0, 256, (192, 240, 3), np.uint8))


@pytest.fixture(scope="module")
def make_page(tmp_path_factory):
    """What makes a page, with more about its preparation."""
    folder = tmp_path_factory.mktemp("page")
    write_noise(folder / "noise.mp4", 25 * (PREVIEW_SECONDS + 2))
    Image.new("RGB", (300, 200), "red").save(folder / "reference.png")
    timeline = make_timeline(folder / "noise.mp4", resolution_area=240 * 192, fps="source")
    provenance = {
        "clip": "a<b",
        "mode": "animate",
        "model": {"path": "models/tiny"},
        "settings": {"prompt": "<script>alert(1)</script>", "end": None},
        "output": {
            "frames": 300, "size": [320, 256], "frame_rate": "25", "path": "p", "sha256": "s",
        },
        "inputs": {},
        "packages": {},
        "figures": {"pose_error": 0.12},
        "sampling": {
            "seconds": {"models": 1.5},
            "segments": [
                {"first": 1, "last": 2, "made_by": {"gpu": "<H200>", "packages": {"torch": "2"}}}
            ],
        },
    }  # fmt: skip
    video = folder / "noise.mp4"
    noise = np.random.default_rng(1).integers(0, 256, (900, 1640, 3), np.uint8)
    Image.fromarray(noise).save(folder / "preview.png")
    edited = [folder / "retarget_reference.png", folder / "retarget_driver.png"]
    for picture in edited:
        Image.new("RGB", (300, 200), "blue").save(picture)
    return lambda pose=video, frame=None, **more: render_page(
        video, timeline, pose, folder / "reference.png", video,
        provenance | {"sampling": provenance["sampling"] | ({"frame": frame} if frame else {})},
        folder / "preview.png", {"body": 1.0, **more}, edited,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(make_page):
    return make_page()


def test_page_shows_the_edited_pictures(page):
    for title in ("Edited reference", "Edited driving frame"):
        assert re.search(rf'src="data:image/jpeg[^"]+" alt="{title}"', page)


def test_page_shows_no_edited_pictures_where_nothing_was_edited(make_page):
    problems = {"reference": UNEDITED, "driving frame": UNEDITED}
    assert 'alt="Edited' not in make_page(edited=0.0, edit_problems=problems)


def test_page_of_a_clip_without_a_pose_says_which_figures_it_cannot_have(make_page, page):
    said = "No figures compare this clip with a drawn pose and face"
    without = make_page(pose=None)
    assert without.count(said) == 1 and 'data-title="Pose"' not in without
    assert said not in page and 'data-title="Pose"' in page


def test_page_places_a_part_of_the_frame(make_page, page):
    shown = make_page(frame={"size": [320, 256], "part": [0, 8, 320, 240]})
    place = 'data-title="Result" data-place="0.000000 0.031250 1.000000 0.937500"'
    assert place in shown and shown.count("data-place=") == 1
    assert "data-place=" not in page


def test_page_of_incompressible_videos_opens_in_chromium(page):
    assert len(page.encode()) < LARGEST_PAGE


def test_each_video_plays_its_first_seconds(page, tmp_path):
    sources = re.findall(r'src="data:video/mp4;base64,([^"]+)"', page)
    assert len(sources) == 3
    (tmp_path / "preview.mp4").write_bytes(b64decode(sources[0]))
    assert sum(1 for _ in read_video(tmp_path / "preview.mp4")) == 25 * PREVIEW_SECONDS


def test_texts_of_the_user_are_escaped(page):
    assert "<script>alert(1)" not in page
    assert "a&lt;b" in page


def test_tiny_models_noise_is_explained(page):
    assert "noise by design" in page


def test_what_sampled_the_segments_is_told(page):
    assert "segments 1 to 2" in page
    assert "gpu &lt;H200&gt;" in page and "torch 2" in page
    assert "<th>models</th><td>1.5 s</td>" in page
