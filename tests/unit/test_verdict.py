"""Which clips are worth sampling: thresholds, sentences, and real clips that are good and bad."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from animate.config.configuration import Configuration
from animate.config.mistakes import mistakes_of
from animate.config.resolve import resolve
from animate.config.settings import ClipSettings
from animate.editing.outcome import Outcome
from animate.errors import ClipError
from animate.results.verdict import Verdict, judge
from animate.video.files import VideoWriter, read_masks, read_video
from animate.video.timeline import make_timeline
from difficult import quadrants, write_clip
from stages import stage

CLIPS = Path(__file__).parents[2].parent / "shared" / "clips"
PERFECT = {"body": 1.0, "face": 1.0, "plausible": 1.0, "blinks": 0.0, "cut_rate": 0.0, "mask": 1.0}


@pytest.fixture(scope="module")
def timeline(tmp_path_factory):
    """The timeline of 12 s at 10 frames a second."""
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    write_clip(path, [quadrants((64, 64))] * 120, rate=Fraction(10))
    return make_timeline(path, resolution_area=64 * 64)


def verdict(timeline, require=None, limbs=(), worst=(), **metrics) -> Verdict:
    settings = ClipSettings(**({} if require is None else {"require": require}))
    return judge(PERFECT | metrics | {"worst": dict(worst)}, settings, timeline, dict(limbs))


def test_a_perfect_clip_is_good(timeline):
    assert verdict(timeline) == Verdict("good", [])


@pytest.mark.parametrize(
    ("figure", "good", "warned", "bad"),
    [
        ("body", 0.9, 0.89, 0.79),
        ("face", 0.75, 0.74, 0.49),
        ("mask", 0.98, 0.96, 0.94),
        ("plausible", 0.95, 0.94, 0.89),
        ("blinks", 2.5, 5.0, 5.1),
        ("cut_rate", 2.5, 2.6, 5.1),
    ],
)
def test_a_warning_lies_between_good_and_bad(timeline, figure, good, warned, bad):
    for value, state in ((good, "good"), (warned, "warning"), (bad, "bad")):
        found = verdict(timeline, **{figure: value})
        assert (found.state, len(found.sentences)) == (state, state != "good")


def test_a_sentence_says_what_where_and_what_to_do(timeline):
    found = verdict(timeline, face=0.3, worst={"face": (32, 75)})
    assert found.sentences == [
        "A face is seen in 30% of the frames, less than the 50% of require face (longest without"
        " 0:03.2 to 0:07.5): film the face larger and from the front, or ask for face=0 where no"
        " expression is needed."
    ]
    (body,) = verdict(timeline, body=0.85).sentences
    assert "in 85% of the frames, near the 80% of require body: " in body
    assert "pose_backend: vitpose" in body
    (strict,) = verdict(timeline, {"body": 1.0}, body=0.9999).sentences
    assert "in 99.99% of the frames, less than the 100%" in strict


def test_a_better_backend_is_advised_to_those_who_have_none(timeline):
    settings = ClipSettings(pose_backend="vitpose", mask_backend="sam2")
    metrics = PERFECT | {"body": 0.1, "mask": 0.1, "worst": {}}
    assert "backend" not in " ".join(judge(metrics, settings, timeline, {}).sentences)


def test_of_the_users_own_points_nothing_is_advised_that_no_stage_reads(timeline):
    metrics = PERFECT | {"body": 0.1, "face": 0, "plausible": 0.1, "blinks": 9, "worst": {}}
    found = judge(metrics, ClipSettings(), timeline, {}, given=["keypoints"])
    assert len(found.sentences) == 4
    for sentence in found.sentences:
        _, advice = sentence.split(": ", 1)
        assert "keypoints" in advice and "pose_backend" not in advice and "person" not in advice
    (mask,) = verdict(timeline, mask=0.5).sentences
    assert "a corrected mask in mask_video, or set mask_backend: sam2" in mask


def test_the_worst_comes_first(timeline):
    body, mask = verdict(timeline, body=0.85, mask=0.5).sentences
    assert "mask" in body and "person is found" in mask


def test_what_is_off_or_not_known_is_not_judged(timeline):
    assert verdict(timeline, {"face": 0.0, "body": "none"}, face=0, body=0).state == "good"
    assert verdict(timeline, "none", face=0).state == "not judged"
    given = {"frames": 9, "worst": {}}
    assert judge(given, ClipSettings(), timeline, {}).state == "not judged"
    assert judge(given | {"mask": 0.5}, ClipSettings(), timeline, {}).state == "bad"
    ignored = ClipSettings(cuts="ignore")
    assert judge(PERFECT | {"cut_rate": 9, "worst": {}}, ignored, timeline, {}).state == "good"


def test_an_edited_picture_without_a_pose_is_a_warning_or_bad_where_it_is_required(timeline):
    assert verdict(timeline, edited=1.0).state == "good"
    found = verdict(timeline, edited=0.5)
    assert found.state == "warning" and "as with retarget: basic" in found.sentences[0]
    found = verdict(timeline, {"edited": 1.0}, edited=0.5)
    assert found.state == "bad" and "50% of the two edited pictures" in found.sentences[0]
    assert "another retarget_seed" in found.sentences[0]


@pytest.mark.parametrize(("require", "state"), [({}, "warning"), ({"edited": 1.0}, "bad")])
def test_another_seed_is_not_advised_where_nothing_was_edited(timeline, require, state):
    problems = dict(Outcome.unedited().problems)
    found = verdict(timeline, require, edited=0.0, edit_problems=problems)
    assert found.state == state and "so nothing was edited" in found.sentences[0]
    assert "retarget_seed" not in found.sentences[0] and "start and end" in found.sentences[0]


def test_limbs_that_differ_by_more_than_a_fifth_are_worth_retargeting(timeline):
    assert verdict(timeline, limbs={"thighs": 1.19, "shins": 0.84}).state == "good"
    found = verdict(timeline, limbs={"thighs": 1.1, "shins": 0.8})
    assert found.state == "warning" and "shins" in found.sentences[0]
    assert "retarget: basic" in found.sentences[0]


def test_rows_and_presets_override_single_keys():
    config = Configuration(
        defaults={"require": {"body": 0.6, "face": 0.1}},
        presets={"standard": {"require": {"mask": 0.5, "face": 0.2}}, "free": {"require": "none"}},
    )
    cell = ClipSettings.model_validate_strings({"require": "face=none blinks=9"}).require
    found = resolve({"require": cell}, config).require
    assert (found.body, found.face, found.mask, found.blinks) == (0.6, None, 0.5, 9)
    assert not resolve({"preset": "free"}, config).require.asks
    assert resolve({"preset": "free", "require": cell}, config).require.given()["blinks"] == 9


@pytest.mark.parametrize("cell", ["body", "body=[", "body=1.1", "bodey=1", "all", "blinks=-1"])
def test_a_cell_that_asks_for_nothing_known_is_refused(cell):
    with pytest.raises(ValidationError) as refused:
        ClipSettings.model_validate_strings({"require": cell})
    (mistake,) = mistakes_of(refused.value, ClipSettings)
    assert mistake.key == f"require.{cell.partition('=')[0]}"


def film(name: str, count: int, step: int = 1) -> list[np.ndarray]:
    """Return frames of a shared clip, small and of one shape."""
    if not (CLIPS / f"{name}.mp4").is_file():
        pytest.skip("the shared clips are not beside the checkout")
    taken = islice(read_video(CLIPS / f"{name}.mp4"), 0, step * count, step)
    return [cv2.resize(frame, (480, 272), interpolation=cv2.INTER_AREA) for frame in taken]


def prepared(folder: Path, frames: list[np.ndarray]) -> dict[str, Path]:
    """Prepare a clip of 10 frames a second for its verdict, as animation; return its files."""
    names = {"timeline": "t.json", "keypoints": "k.npz", "metrics": "m.json", "output": "v.json"}
    files = {name: folder / file for name, file in names.items()}
    settings, video = ClipSettings(resolution_area="480x272", fps="source"), folder / "a.mp4"
    with VideoWriter(video, (480, 272), 10) as writer:
        for frame in frames:
            writer.write(frame)
    stage("timeline", settings, video=video, output=files["timeline"])
    clip = {"video": video, "timeline": files["timeline"]}
    stage("keypoints", settings, **clip, output=files["keypoints"])
    return files | {"video": video}


def judged(files: dict[str, Path], **masks: Path) -> Verdict:
    """Measure and judge a clip by the default thresholds."""
    files = dict(files)
    video, output, keypoints = (files.pop(name) for name in ("video", "output", "keypoints"))
    settings, sheet = ClipSettings(), output.with_name("sheet.png")
    stage("preview", settings, video=video, keypoints=keypoints, sheet=sheet, **masks, **files)
    stage("verdict", settings, output=output, **files)
    return Verdict.from_json(output)


@pytest.mark.parametrize("name", ["market_boy", "talking_head"])
def test_shared_clips_pass(tmp_path, name):
    assert judged(prepared(tmp_path, film(name, 35, 3))).state in ("good", "warning")


def test_hands_without_a_face_do_not_pass(tmp_path):
    below_the_chin = [frame[95:245, 205:471] for frame in film("talking_head", 35, 2)]
    close = [cv2.resize(frame, (480, 272)) for frame in below_the_chin]
    found = judged(prepared(tmp_path, close))
    assert found.state == "bad"
    assert found.sentences[0].startswith("A face is seen in 0% of the frames, less than the 50%")
    assert "longest without 0:00.0 to 0:03.5" in found.sentences[0]


def test_a_montage_of_two_people_does_not_pass(tmp_path):
    both = film("market_boy", 70), film("talking_head", 70)
    frames = [both[number // 10 % 2][number] for number in range(70)]
    found = judged(prepared(tmp_path, frames))
    assert found.state == "bad"
    assert found.sentences[0].startswith("The clip is cut 6 times in ten seconds")
    assert "(most 0:01.0 to 0:06.1)" in found.sentences[0]


def test_a_lost_mask_does_not_pass(tmp_path):
    files = prepared(tmp_path, film("talking_head", 40))
    settings = ClipSettings(resolution_area="480x272")
    clip = {name: files[name] for name in ("video", "timeline", "keypoints")}
    person, mask = tmp_path / "person_mask.mp4", tmp_path / "src_mask.mp4"
    stage("person_mask", settings, **clip, output=person)
    masks = list(read_masks(person))
    stage("mask", settings, timeline=files["timeline"], person_mask=person, output=mask)
    assert judged(files, person_mask=person, mask=mask).state in ("good", "warning")
    with VideoWriter(person, masks[0].shape[::-1], 10, "mask") as writer:
        for number, one in enumerate(masks):
            writer.write(one * 255 if not 12 <= number < 22 else one * 0)
    stage("mask", settings, timeline=files["timeline"], person_mask=person, output=mask)
    found = judged(files, person_mask=person, mask=mask)
    assert found.state == "bad"
    assert found.sentences[0].startswith("There is a mask in 75% of the frames")
    assert "longest without 0:01.2 to 0:02.2" in found.sentences[0]
    with pytest.raises(ClipError, match=r"There is a mask .*; require: none samples it as it is$"):
        stage("accept", settings, verdict=files["output"])
