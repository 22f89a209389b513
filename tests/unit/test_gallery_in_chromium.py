"""The gallery in a real browser: what is drawn, that videos keep in step, and how fast it opens."""

import json
import shutil
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from animate.config.configuration import Configuration
from animate.config.table import read_table
from animate.gallery.pages import write_gallery
from animate.results.poster import write_poster
from animate.video.files import VideoWriter
from animate.video.framed import Part
from chromium import PROGRAM, Chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine"),
]
FRAMES, RATE, SIZE, CELL = 75, Fraction(25), (320, 192), 32
CELLS = np.ones((8, 8, 1), np.uint8)
NAMES = ("driving", "src_pose", "src_face", "src_mask", "src_bg")
WIDTHS = (1400, 400)
PLAYED = '[...document.querySelectorAll("figure:not(.broken) video")]'
# Each video's frame number, read from the picture itself.
NUMBERS = f"""{PLAYED}.map(video => {{
    const canvas = Object.assign(document.createElement("canvas"), {{ width: 320, height: 192 }});
    const brush = canvas.getContext("2d");
    brush.drawImage(video, 0, 0, 320, 192);
    const value = bit => brush.getImageData({CELL} * bit + {CELL // 2}, {CELL // 2}, 1, 1).data[0];
    const lit = bit => value(bit) > 127;
    return [0, 1, 2, 3, 4, 5, 6].reduce((sum, bit) => sum + (lit(bit) ? 2 ** bit : 0), 0);
}})"""
STILL = f"""new Promise(done => setInterval(() => {{
    if ({PLAYED}.every(video => !video.seeking && video.readyState >= 2)) done(1);
}}, 30))"""


def numbered(number, grey):
    """Return a grey frame (h, w, 3) whose first row of cells shows its number in white bits."""
    frame = np.full((SIZE[1], SIZE[0], 3), grey, np.uint8)
    frame[:CELL] = 0
    for bit in range(7):
        if number >> bit & 1:
            frame[:CELL, CELL * bit : CELL * (bit + 1)] = 255
    return frame


def write_numbered(path, grey, frames=FRAMES):
    with VideoWriter(path, SIZE, RATE) as video:
        for number in range(frames):
            video.write(numbered(number, grey))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two clips of one driving video, one of them shorter, and one whose pose no browser plays."""
    folder = tmp_path_factory.mktemp("gal lery #1 %")
    (folder / "v.mp4").touch()
    (folder / "r.png").touch()
    names = ("one", "two", "odd")
    rows = [f"{name},v.mp4,r.png,replace,{seed},{'word ' * 40}" for seed, name in enumerate(names)]
    (folder / "clips.csv").write_text("\n".join(["clip,video,reference,mode,seed,prompt", *rows]))
    for name in names:
        made = folder / "results" / name
        made.mkdir(parents=True)
        timeline = {"frame_count": FRAMES, "frame_rate": "25", "model_size": SIZE, "shots": [0]}
        (made / "timeline.json").write_text(json.dumps(timeline))
        for place, video in enumerate(NAMES):
            write_numbered(made / f"{video}.mp4", 40 + 20 * place)
        write_numbered(made / f"{name}.mp4", 200, FRAMES - 10 if name == "two" else FRAMES)
        write_poster(made / f"{name}.jpg", made / f"{name}.mp4")
        (made / f"{name}.html").touch()
    (folder / "results/odd/src_pose.mp4").write_bytes(b"no video")
    config = Configuration(
        clips=str(folder / "clips.csv"),
        results=str(folder / "results"),
        logs=str(folder / "logs"),
    )
    write_gallery(config, read_table(config.clips, config))
    return folder / "results"


@pytest.fixture(params=WIDTHS, ids=str)
def chromium(request, tmp_path):
    with Chromium(tmp_path / "profile", request.param) as page:
        yield page


def seek(chromium, frame):
    chromium.run(
        f'if (playing) pause(); part("seek").value = {frame};'
        ' part("seek").dispatchEvent(new Event("input"))'
    )
    chromium.run(STILL)
    time.sleep(0.1)


def assert_clean(chromium):
    """The page is no wider than the window, and met no error."""
    assert chromium.errors == []
    # A window of a phone grows with a page that is too wide.
    wide = chromium.run("Math.max(document.documentElement.scrollWidth, innerWidth)")
    assert wide <= chromium.width


def test_all_videos_play_and_seek_to_the_same_frame(chromium, results):
    chromium.open(results / "one/index.html")
    chromium.run(STILL)
    states = chromium.run('[...document.querySelectorAll("video")].map(v => v.readyState)')
    assert states == [4] * 6
    for frame in (0, 1, 31, 47, 48, 62, FRAMES - 1):
        seek(chromium, frame)
        assert chromium.run(NUMBERS) == [frame] * 6
    seek(chromium, 20)
    for button, expected in ((2, 21), (2, 22), (1, 21)):
        chromium.run(f"document.querySelectorAll('.controls button')[{button}].click()")
        chromium.run(STILL)
        time.sleep(0.1)
        assert chromium.run(NUMBERS) == [expected] * 6
    assert chromium.run('document.querySelector("output").value') == "frame 22 of 75 · 0:00.84"
    chromium.run('part("play").click()')
    time.sleep(0.6)
    chromium.run('part("play").click()')
    chromium.run(STILL)
    time.sleep(0.1)
    numbers = chromium.run(NUMBERS)
    assert numbers[0] != 21 and len(set(numbers)) == 1
    assert_clean(chromium)


def test_the_slider_parts_driving_video_and_result(chromium, results):
    chromium.open(results / "one/index.html")
    chromium.run(STILL)
    seek(chromium, 10)

    def drawn(x):
        pixel = f"[...brush.getImageData({x}, 100, 1, 1).data].slice(0, 3)"
        return np.mean(chromium.run(pixel))

    assert abs(drawn(80) - 40) < 6 and abs(drawn(240) - 200) < 6
    chromium.run('part("split").value = 20; draw()')
    assert abs(drawn(80) - 200) < 6
    chromium.run('choices.left.value = "Mask"; part("view").value = "beside"; choose()')
    assert abs(drawn(80) - 100) < 6 and abs(drawn(320 + 80) - 200) < 6
    chromium.run('part("view").value = "difference"; draw()')
    assert abs(drawn(80) - 100) < 6
    assert_clean(chromium)


def test_a_part_of_the_frame_lies_over_the_same_part_of_others(tmp_path):
    """A result without the strips of its frame, 12 and 14 pixels wide, and others in the frame."""
    for name in ("v.mp4", "r.png"):
        (tmp_path / name).touch()
    rows = ["clip,video,reference,mode,seed"]
    rows += [f"{name},v.mp4,r.png,animate,{seed}" for seed, name in enumerate(("one", "two"))]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    picture = np.kron(np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8), CELLS)
    part = Part(12, 0, 294, 192)
    placed = {"size": list(SIZE), "part": [12, 0, 294, 192]}
    shas = {"path": "p", "sha256": "s"}
    for name in ("one", "two"):
        made = tmp_path / "results" / name
        made.mkdir(parents=True)
        timeline = {"frame_count": 5, "frame_rate": "25", "model_size": SIZE, "shots": [0]}
        (made / "timeline.json").write_text(json.dumps(timeline))
        for file, frame in (("driving", picture), (name, part.cut(picture))):
            with VideoWriter(made / f"{file}.mp4", frame.shape[1::-1], RATE) as video:
                for _ in range(5):
                    video.write(frame)
        sampling = {"seconds": {}, "segments": []} | ({"frame": placed} if name == "one" else {})
        record = {"clip": name, "settings": {}, "inputs": {}, "packages": {}, "sampling": sampling}
        record |= {"output": shas | {"size": [294, 192]}}
        (made / f"{name}.json").write_text(json.dumps(record))
        (made / f"{name}.html").touch()
    places = {key: str(tmp_path / key) for key in ("results", "logs")}
    config = Configuration(clips=str(tmp_path / "clips.csv"), **places)
    write_gallery(config, read_table(config.clips, config))
    pixels = "[...brush.getImageData(0, 0, canvas.width, canvas.height).data]"
    with Chromium(tmp_path / "profile", WIDTHS[0]) as page:

        def drawn(left, right, view):
            page.run(f'choices.left.value = "{left}"; choices.right.value = "{right}"')
            page.run(f'part("view").value = "{view}"; choose()')
            width, height = page.run("[canvas.width, canvas.height]")
            return np.array(page.run(pixels)).reshape(height, width, 4)[..., :3]

        page.open(tmp_path / "results/one/index.html")
        page.run(STILL)
        seek(page, 2)
        over = drawn("Driving video", "Result", "difference")
        assert over.shape == (192, 294, 3) and over.mean() < 2
        under = drawn("Result", "Driving video", "difference")
        assert under.shape == (192, 320, 3) and part.cut(under).mean() < 2
        # Beside each other, neither lies over the other.
        beside = drawn("Driving video", "Result", "beside")
        assert beside.shape == (192, 588, 3)
        assert np.abs(beside[:, :294] - beside[:, 294:]).mean() < 2
        # One of whose place nothing is known is fitted into the frame.
        page.run('compare("../two/two.mp4", { name: "two" })')
        page.run(STILL)
        other = drawn("Result of two", "Driving video", "slider")
        assert np.abs(other[:, 13:160] - part.cut(picture)[:, :147]).mean() < 5
        page.open(tmp_path / "results/two/index.html")
        page.run(STILL)
        page.run('part("other").value = "../one/one.mp4"')
        page.run('part("other").dispatchEvent(new Event("change"))')
        page.run(STILL)
        assert page.run('place(titled("Result of one"))') == [0.0375, 0, 0.91875, 1]
        assert_clean(page)


def test_another_result_is_played_beside(chromium, results):
    chromium.open(results / "one/index.html")
    chromium.run(STILL)
    chromium.run(
        'part("other").value = "../two/two.mp4"; part("other").dispatchEvent(new Event("change"))'
    )
    chromium.run(STILL)
    for frame in (5, 50):
        seek(chromium, frame)
        assert chromium.run(NUMBERS) == [frame] * 7
    seek(chromium, FRAMES - 1)
    assert chromium.run(NUMBERS) == [FRAMES - 1] * 6 + [FRAMES - 11]
    assert chromium.run("choices.left.value") == "Result of two"
    assert_clean(chromium)


def test_a_file_that_no_browser_plays_is_named(chromium, results):
    chromium.open(results / "odd/index.html")
    chromium.run(STILL)
    seek(chromium, 12)
    assert chromium.run(NUMBERS) == [12] * 5
    broken = chromium.run('document.querySelector(".broken figcaption").textContent')
    assert broken.startswith("Pose: this browser cannot play the file")


@pytest.fixture(scope="module")
def many(results, tmp_path_factory):
    """The page of 500 finished clips."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "v.mp4").touch()
    (folder / "r.png").touch()
    names = [f"clip-{number:03}" for number in range(500)]
    rows = [f"{name},v.mp4,r.png,replace,{number}" for number, name in enumerate(names)]
    (folder / "clips.csv").write_text("\n".join(["clip,video,reference,mode,seed", *rows]))
    figures = dict.fromkeys(("pose_error", "identity", "seams", "background_psnr"), 0.1234)
    for number, name in enumerate(names):
        made = folder / "results" / name
        made.mkdir(parents=True)
        (made / f"{name}.html").touch()
        (made / f"{name}.mp4").touch()
        shutil.copy(results / "one/one.jpg", made / f"{name}.jpg")
        metrics = figures | {"body": 1 - number / 500}
        (made / "metrics.json").write_text(json.dumps(metrics))
    config = Configuration(
        clips=str(folder / "clips.csv"),
        results=str(folder / "results"),
        logs=str(folder / "logs"),
    )
    return write_gallery(config, read_table(config.clips, config))


def test_500_clips_open_are_found_and_ordered_at_once(chromium, many):
    assert many.stat().st_size < 2_000_000
    begun = time.monotonic()
    chromium.open(many)
    seconds = time.monotonic() - begun
    assert seconds < 2, seconds
    shown = '[...document.querySelectorAll("article:not([hidden]) h2 a")].map(a => a.textContent)'
    assert len(chromium.run(shown)) == 500
    chromium.run('form.elements.text.value = "seed 12"; form.dispatchEvent(new Event("input"))')
    found = chromium.run(shown)
    assert {"clip-012", "clip-120"} <= set(found) and len(found) < 30
    chromium.run('form.elements.text.value = ""; form.elements.sort.value = "body"')
    taken = chromium.run("const before = performance.now(); show(); performance.now() - before")
    assert chromium.run(shown)[0] == "clip-499" and taken < 1000
    assert "sort=body" in chromium.run("location.hash")
    assert_clean(chromium)


def test_a_filter_is_found_again_from_the_address(chromium, many):
    chromium.open(many)
    chromium.run('location.hash = "#text=clip-03&sort=name&turned=1"')
    chromium.run("restore(); show()")
    shown = '[...document.querySelectorAll("article:not([hidden]) h2 a")].map(a => a.textContent)'
    assert chromium.run(shown)[:2] == ["clip-039", "clip-038"]


def test_every_picture_of_the_pages_is_there(chromium, results):
    for page in (results / "index.html", results / "one/index.html"):
        chromium.open(page)
        # Those that are loaded late, too.
        chromium.run('document.querySelectorAll("img").forEach(img => { img.loading = "eager" })')
        time.sleep(0.5)
        wide = chromium.run('[...document.querySelectorAll("img")].map(img => img.naturalWidth)')
        assert wide.count(0) == 0
        assert_clean(chromium)
    assert Path(chromium.run("decodeURI(location.pathname)")).name == "index.html"
