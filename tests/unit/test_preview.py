"""The sheet and the video of the preprocessing show what was found, and what went wrong."""

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest
from PIL import Image

import stages
from animate.config.settings import ClipSettings
from animate.pose.keypoints import EMPTY, Keypoints, stack
from animate.results.preview.colours import ALARM, CUT, PEOPLE, REPAINTED, RULER
from animate.results.preview.figures import (
    DOUBTFUL,
    GOOD,
    HIDDEN,
    LOST,
    MaskFit,
    faults,
    states,
)
from animate.results.preview.findings import find, mask_fit
from animate.results.preview.moments import COUNT, choose_moments, named_faults
from animate.results.preview.overlay import draw_ruler
from animate.results.preview.sheet import GAP, GUTTER, WIDTH, Shown, moments, write_sheet
from animate.results.preview.strip import STATE_COLOURS, draw_strip
from animate.results.preview.text import label, write
from animate.results.preview.view import View
from animate.video.files import VideoWriter, read_video, video_info
from animate.video.letterbox import Letterbox
from animate.video.source import Picture
from animate.video.timeline import Timeline

SIZE = (320, 180)
RATE = Fraction(25)
SETTINGS = ClipSettings(resolution_area="320x180", fps="source")


def timeline(count: int, shots=(0,)) -> Timeline:
    return Timeline(
        RATE, tuple(range(count)), SIZE, Fraction(0), Picture(SIZE, "1", False, 1, None), shots
    )


def person(middle: float = 0.5) -> tuple[np.ndarray, ...]:
    """Return the points of somebody who stands in the middle, all of them near one another."""
    rng = np.random.default_rng(0)
    parts = []
    for points in (20, 21, 21, 69):
        place = rng.uniform(-0.1, 0.1, (points, 2)) + np.array((middle, 0.5))
        parts.append(np.concatenate([place, np.ones((points, 1))], axis=1))
    # The nose is in the face.
    parts[0][0, :2] = parts[3][1:, :2].mean(axis=0)
    return tuple(parts)


def clip(count: int, lost=(), faceless=()) -> Keypoints:
    parts = [list(person()) for _ in range(count)]
    for frame in faceless:
        parts[frame][3] = EMPTY[3]
    frames = [None if frame in lost else tuple(part) for frame, part in enumerate(parts)]
    return stack(frames, [1] * count)


def found_in(count, keypoints=None, shots=(0,), people=None, masks=None, segments=(0,), **size):
    line = timeline(count, shots, **size)
    fit = None
    if masks is not None:
        fit = mask_fit(line, keypoints)
        assert sum(1 for _ in fit.watch(masks)) == count
    return find(line, keypoints, fit, people, segments, smooth=False)


def people_file(folder, frame: int, box=(80, 40, 160, 140)):
    path = folder / "people.json"
    person = {"number": 7, "first_second": 0.4, "frame": frame, "box": box}
    path.write_text(json.dumps({"people": [person]}), "utf-8")
    return path


@pytest.mark.parametrize(("count", "expected"), [(106, [*range(0, 106, 15)]), (3, [0, 1, 2])])
def test_moments_of_a_clip_without_faults_are_spread_evenly(count, expected):
    assert choose_moments(count) == expected


def test_the_worst_moments_of_each_kind_are_shown():
    face, body = np.zeros((2, 400))
    face[100:300], body[350:353] = 0.6, (0.8, 1, 0.8)
    shown = choose_moments(400, (0,), {"face": face, "body": body}, wanted=[33])
    assert len(shown) == COUNT and {0, 33, 351} <= {*shown}
    assert 1 <= sum(100 <= frame < 300 for frame in shown) < COUNT - 3
    assert min(np.diff(shown)) >= 400 / 16
    assert named_faults(351, {"face": face, "body": body}) == ["body"]


def test_each_shot_is_shown_at_its_worst():
    shots, fault = (0, 5, 7, 9, 11, 13, 20, 60, 64), np.zeros(80)
    fault[15] = 1
    shown = choose_moments(80, shots, {"fault": fault})
    assert all(any(a <= frame < b for frame in shown) for a, b in pairwise([*shots, 80]))
    assert 15 in shown and shown == sorted(set(shown)) and 62 in shown
    assert choose_moments(1) == [0]


def test_a_mask_far_from_the_skeleton_fits_badly():
    body = np.zeros((5, 20, 3))
    body[:, :10] = [(x, 80, 1) for x in range(100, 200, 10)]
    masks = np.zeros((5, 180, 320), np.uint8)
    masks[0, 60:100, 90:210] = masks[1, 60:100, 140:210] = masks[2, :40, 250:] = 1
    masks[4, 60:100, 90:210] = masks[4, :, 280:] = 1
    fit = MaskFit(body)
    assert [mask.sum() for mask in fit.watch(masks)] == [mask.sum() for mask in masks]
    assert fit.fits[0] == 1 and 0.5 < fit.fits[1] < 0.8 and fit.fits[2] == fit.fits[3] == 0
    assert 0.3 < fit.fits[4] < 0.6
    assert states(None, fit)["mask"].tolist() == [GOOD, DOUBTFUL, DOUBTFUL, LOST, DOUBTFUL]


def test_states_and_faults_of_each_frame():
    keypoints = clip(10, lost=(2, 3, 4), faceless=(6,))
    flags = np.zeros((2, 10), bool)
    flags[0, 3] = flags[1, 4] = True
    keypoints = replace(keypoints, bridged=flags[0], doubted=flags[1])
    lines = states(keypoints, None)
    assert lines["body"].tolist()[1:6] == [GOOD, LOST, DOUBTFUL, DOUBTFUL, GOOD]
    assert lines["face"][[5, 6]].tolist() == [GOOD, DOUBTFUL]
    assert lines["left hand"][[1, 2]].tolist() == [GOOD, HIDDEN] and "mask" not in lines
    wrong = faults(keypoints, None, SIZE, 25)
    assert [named_faults(frame, wrong) for frame in (1, 2, 3, 4, 6)] == [
        [], ["nobody found"], ["no face", "body interpolated"], ["implausible body"], ["no face"],
    ]  # fmt: skip


def test_of_many_frames_in_a_column_of_the_strip_the_worst_is_seen():
    body = np.full(9000, GOOD, np.uint8)
    body[4500] = LOST
    drawn = draw_strip({"body": body}, 9000, 25, (0, 2000), (0, 77), (80, 500), [4500])
    line = drawn.picture[16 + 8]
    red = np.flatnonzero((line == STATE_COLOURS[LOST]).all(axis=1))
    assert len(red) == 1 and abs(red[0] - drawn.at(4500)) <= 1
    assert (line == STATE_COLOURS[GOOD]).all(axis=1).sum() > drawn.width - 5
    cut = drawn.left + 2000 * drawn.width // 9000
    assert (drawn.picture[16:60, cut] == CUT).all()
    assert (drawn.with_playhead(0) != drawn.picture).any()
    assert (drawn.with_playhead(8999)[:40, drawn.at(8999)] < 50).all()


def test_ruler_has_the_pixels_of_the_models_frame():
    view = View.within((640, 360), (480, 480), (240, 240))
    assert view.size == (240, 134) and view.span() == ((0, 479), (105, 374))
    place = Letterbox((640, 360), (480, 480))
    corner = place.points(np.array([[1.0, 1, 1]]))[0, :2]
    assert view.from_model(corner) == pytest.approx(view.size)
    picture = np.zeros((134, 240, 3), np.uint8)
    draw_ruler(picture, view, grid=False)
    for axis, value in ((0, 200), (1, 200)):
        at = round(float(view.from_model((value, value))[axis]))
        tick = picture[:9, at] if axis == 0 else picture[at, :9]
        assert (tick == RULER).all()
    whole = place.image(np.full((360, 640), 1, np.uint8))
    assert view.of_model(whole).shape == (134, 240) and view.of_model(whole).all()


def test_text_is_cut_at_the_picture_and_moved_into_it():
    picture = np.zeros((20, 60, 3), np.uint8)
    write(picture, (50, 15), "12")
    assert (picture[-5:, -5:] == 255).any() and not picture[:, :20].any()
    write(picture, (0, 0), "much longer than the picture")
    assert label("two\nlines").shape[0] > 1.8 * label("two").shape[0]


@pytest.fixture
def sheet(tmp_path):
    """A function that writes the sheet of findings and returns it, and its frames."""

    def sheet(found, **shown):
        at = moments(found)
        frames = [np.full((180, 320, 3), 40 + 10 * place, np.uint8) for place in range(len(at))]
        pictures = {name: [picture] * len(at) for name, picture in shown.items()}
        write_sheet(tmp_path / "sheet.png", "dance", found, at, Shown(frames, **pictures))
        return np.asarray(Image.open(tmp_path / "sheet.png")), at

    return sheet


def places(sheet: np.ndarray, colour, column: int = 408) -> set[int]:
    """Return the columns of the first band in which a colour is seen."""
    _, xs = np.nonzero((sheet == colour).all(axis=2))
    return {(x - GUTTER) // column for x in xs if x >= GUTTER}


def test_columns_name_their_faults_and_cuts_have_a_line(sheet):
    found = found_in(100, clip(100, lost=(14,)), shots=(0, 40), segments=(0, 40))
    picture, at = sheet(found)
    assert at[:2] == [0, 14] and picture.shape[1] == WIDTH
    below = picture[460:]
    columns = {place % 4 for place in range(len(at)) if named_faults(at[place], found.faults)}
    assert places(below, ALARM) == columns == {1}
    before = sum(frame < 40 for frame in at)
    lines = (below[:, GUTTER + before % 4 * 408 :][:, :GAP] == CUT).all(axis=(1, 2))
    assert lines.sum() > 200


def test_people_have_boxes_and_numbers_at_their_frame(sheet, tmp_path):
    found = found_in(100, clip(100), people=people_file(tmp_path, 33))
    picture, at = sheet(found)
    x = at.index(33) % 4 * 408 + GUTTER + GAP
    top = np.flatnonzero((picture[400:, x : x + 400] == PEOPLE).all(axis=2).sum(axis=1))
    band = picture[400:, x + 100 : x + 202]
    sides = (band[:, [1, -2]] == PEOPLE).all(axis=2).any(axis=1)
    assert len(top) and sides.any()
    assert found.people_at(33)[0].number == 7 and not found.people_at(34)
    assert found.people_at(50, 25) and not found.people_at(32, 25)
    cut = found_in(100, clip(100), shots=(0, 40), people=people_file(tmp_path, 33))
    assert cut.people_at(39, 25) and not cut.people_at(40, 25)
    assert not found_in(100, clip(100), people=tmp_path / "none.json").people


def test_rows_are_of_what_there_is(sheet):
    keypoints, face = clip(20), np.full((512, 512, 3), 77, np.uint8)
    mask = np.zeros((180, 320), np.uint8)
    mask[40:140, 80:240] = 1
    pose = np.zeros((180, 320, 3), np.uint8)
    pose[80:100] = 200
    bare, _ = sheet(found_in(20))
    given, _ = sheet(found_in(20, masks=[mask] * 20), pose=pose, mask=mask)
    whole = found_in(20, keypoints, masks=[mask] * 20)
    full, _ = sheet(whole, pose=pose, face=face, mask=mask, person_mask=mask)
    assert bare.shape[0] < given.shape[0] < full.shape[0]
    assert (given == REPAINTED).all(axis=2).any()
    assert (full[1000:] == 77).all(axis=2).sum() > 8 * 200 * 200
    # Of a given pose, its drawing is seen over the frame: once more than in its own row.
    assert (given == 200).all(axis=2).sum() > 8 * 400 * 20


def write_clip(folder, count: int, size=SIZE, sound: bool = True):
    """Write a driving video whose frames grow brighter, with a tone."""
    path = folder / "driving.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1", "bf": "0"})
        stream.width, stream.height = size
        audio = container.add_stream("aac", rate=48000) if sound else None
        for number in range(count):
            grey = np.full((size[1], size[0], 3), 40 + 6 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
        if audio:
            tone = np.sin(np.arange(count * 1920) / 20)[None].repeat(2, 0).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="stereo")
            frame.sample_rate = 48000
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def prepare(folder, count: int, size=SIZE, **values):
    """Write what preprocessing makes of a clip, and return the arguments of the scripts."""
    video = write_clip(folder, count, size)
    stages.stage("timeline", SETTINGS, video=video, output=folder / "timeline.json")
    line = Timeline.from_json(folder / "timeline.json")
    replace(line, **values).to_json(folder / "timeline.json")
    clip(count).save(folder / "keypoints.npz")
    for name, drawing in (("pose", "drawing"), ("mask", "mask")):
        with VideoWriter(folder / f"{name}.mp4", line.model_size, RATE, drawing) as writer:
            picture = np.zeros(line.model_size[::-1], np.uint8)
            cv2.rectangle(picture, (100, 60), (200, 120), 255, -1)
            for _ in range(count):
                writer.write(picture)
    (folder / "sound.json").write_text('{"track": 1, "note": ""}', "utf-8")
    return {"video": video, "timeline": folder / "timeline.json"}


def test_frames_of_the_preview_video_are_in_step_and_have_the_sound(tmp_path):
    files = prepare(tmp_path, 30)
    found = {name: tmp_path / f"{name}.mp4" for name in ("mask",)}
    found |= {"keypoints": tmp_path / "keypoints.npz", "sound": tmp_path / "sound.json"}
    # Of a clip that takes another's frames, which lie in a file of their own, without sound.
    (tmp_path / "frames").mkdir()
    found["sound_source"] = files.pop("video")
    files["video"] = write_clip(tmp_path / "frames", 30, sound=False)
    output = tmp_path / "preview.mp4"
    stages.stage("preview_video", SETTINGS, **files, **found, output=output)
    info = video_info(output)
    assert (info.frame_count, info.frame_rate, info.size[0]) == (30, RATE, 640)
    frames = list(read_video(output))
    # Scaled twice, in the lower right corner nothing is drawn.
    corner = [frame[300:340, 500:600].mean() for frame in frames]
    assert corner == pytest.approx([40 + 6 * number for number in range(30)], abs=4)
    middle = frames[5][230:240, 210:230].reshape(-1, 3).mean(axis=0)
    assert middle[1] > middle[0] + 30
    with av.open(str(output)) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"
        sound = container.streams.audio[0]
        assert float(sound.duration * sound.time_base) == pytest.approx(1.2, abs=0.03)
    assert not list(tmp_path.glob(".preview*"))


def test_given_files_are_shown_without_keypoints(tmp_path):
    """A pose made elsewhere lies over the driving video; there are no other figures."""
    files = prepare(tmp_path, 12, shots=(0, 6))
    files["pose"] = tmp_path / "pose.mp4"
    output = tmp_path / "preview.mp4"
    stages.stage("preview_video", SETTINGS, **files, output=output)
    frame = next(iter(read_video(output)))
    assert frame[180, 300].min() > 200 and frame[330, 550].max() < 60
    with av.open(str(output)) as container:
        assert not container.streams.audio
    pages = {"sheet": tmp_path / "preview.png", "metrics": tmp_path / "metrics.json"}
    stages.stage("preview", SETTINGS, **files, **pages)
    figures = json.loads(pages["metrics"].read_text())
    assert figures.keys() == {"frames", "cuts", "cut_rate", "worst"} and figures["cuts"] == 1
    assert figures["worst"].keys() <= {"cuts"}
    assert Image.open(pages["sheet"]).width == WIDTH


@pytest.mark.parametrize("size", [(64, 360), (2000, 90)])
def test_narrow_and_wide_clips_are_played(tmp_path, size):
    files = prepare(tmp_path, 3, size) | {"keypoints": tmp_path / "keypoints.npz"}
    output = tmp_path / "preview.mp4"
    stages.stage("preview_video", SETTINGS, **files, output=output)
    info = video_info(output)
    assert info.frame_count == 3 and max(info.size) <= 1280
    assert list(read_video(output))[-1].shape[:2] == info.size[::-1]
