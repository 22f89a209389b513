"""Bones of edited pictures: what the editor is asked for, and what becomes of its answer."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from animate.config.settings import EditSettings, PoseBackend
from animate.editing.driving_frame import best_frame
from animate.editing.memory import WORKING_BYTES, plan_placement
from animate.editing.outcome import Outcome, judge_pictures, usable_bones
from animate.editing.prompts import PROMPTS, prompt_for
from animate.errors import ClipError
from animate.pose.keypoints import Keypoints, at_frame, joined
from animate.pose.retarget import BONES, retarget
from skeletons import (
    ENDS,
    LEGS,
    LENGTHS,
    REFERENCE_SIZE,
    ROOT,
    SIZE,
    TWINS,
    bones,
    clip,
    figure,
    lengths,
    ratios,
    reference,
    stretched,
)
from stages import stage

# A T-pose has the arms level and all else as it was.
T_POSE = {3: 180, 4: 180, 6: 0, 7: 0, 9: 90, 10: 90, 12: 90, 13: 90}
FACE, ARMS, UPPER = (0,), (3, 4, 6, 7), (3, 4, 6, 7, 9, 10, 12, 13, 18, 19)


def t_pose(person: Keypoints, size: tuple[int, int]) -> Keypoints:
    """Return the first body of a clip in a T-pose, with all bones as long as they are."""
    long = lengths(person, size)[0]
    body = person.body[0].astype(float).copy()
    body[:, :2] *= size
    pixels = body.copy()
    for child, parent in BONES:
        bone = person.body[0, child, :2] * size - person.body[0, parent, :2] * size
        if child in T_POSE:
            angle = np.radians(T_POSE[child])
            bone = long[ENDS.index(child)] * np.array([np.cos(angle), np.sin(angle)])
        body[child, :2] = body[parent, :2] + bone
    assert not np.allclose(body, pixels)
    body[:, :2] /= size
    return clip([body])


def draw(body: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture with one dot of its own shade for each joint of a body (20, 3) in 0..1."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    for joint, (x, y) in enumerate(np.rint(body[:, :2] * size).astype(int)):
        picture[y - 1 : y + 2, x - 1 : x + 2, 0] = 10 * (joint + 1)
    return picture


def read(picture: np.ndarray) -> Keypoints:
    """Return the joints that `draw` drew."""
    body = np.zeros((20, 3))
    for joint in range(20):
        rows, columns = np.nonzero(picture[..., 0] == 10 * (joint + 1))
        if len(rows):
            body[joint] = columns.mean(), rows.mean(), 1
    body[:, :2] /= picture.shape[1::-1]
    return clip([body])


def edited(driver: Keypoints, person: Keypoints, frame: int = 0) -> Outcome:
    """Return what an editor that knows the true lengths makes of a frame and a reference."""
    before = at_frame(driver, frame)
    pictures = t_pose(person, REFERENCE_SIZE), t_pose(before, SIZE)
    return judge_pictures(frame, before, SIZE, person, REFERENCE_SIZE, joined(pictures))


@pytest.fixture
def driver() -> Keypoints:
    """A person who waves and walks: all bones turn in the picture's plane."""
    return clip([figure(SIZE, turn=turn) for turn in np.linspace(-40, 40, 15)])


@pytest.mark.parametrize(("shape", "size"), [("wide", (200, 100)), ("tall", (100, 200))])
def test_the_prompt_asks_for_what_is_visible_in_that_shape(driver, shape, size):
    assert prompt_for(driver, size) == f"standing_{shape}"
    driver.body[:, LEGS, 2] = 0.7
    assert prompt_for(driver, size) == f"arms_{shape}"
    driver.body[:, ARMS, 0] += 2
    assert prompt_for(driver, size) == "face"
    # One frame that shows a wrist or an ankle is enough.
    driver.body[3, 4] = 0.5, 0.5, 0.75
    assert prompt_for(driver, size) == f"arms_{shape}"
    driver.body[5, 13, 2] = 0.75
    assert prompt_for(driver, size) == f"standing_{shape}"
    assert ("T-pose" in PROMPTS[f"arms_{shape}"]) == (shape == "wide")


def test_the_driving_frame_that_shows_most_is_edited(driver):
    assert best_frame(driver) == 0
    driver.body[:, 4, 2] = 0.6
    driver.body[[3, 7, 9, 11, 12, 13], 4, 2] = 1
    driver.body[3, 13, :2] = 1.2
    driver.face[9] = 0
    driver.people[7] = 2
    driver.body[11, 2, 2] = 0.8
    driver.found[13] = False
    assert best_frame(driver) == 12
    driver.people[11:13] = 3
    assert best_frame(driver) == 7
    driver.body[:, 1, 2] = 0.7
    assert best_frame(driver) is None


def test_a_frame_with_both_shoulders_goes_before_one_that_shows_more(driver):
    driver.body[:, 2, 2] = 0.7
    driver.body[6, 2, 2] = 1
    driver.body[6, [9, 10], 2] = 0
    assert best_frame(driver) == 6
    # Turned to the camera, the person shows the other shoulder too.
    driver.body[6, 2, 2] = 0.7
    assert best_frame(driver) == 0
    # Where only the face is turned, nothing brings it into sight.
    driver.body[:, [*ARMS, *LEGS], 2] = 0
    assert best_frame(driver) is None


@pytest.mark.parametrize("scale", [0.7, 1.0])
def test_drawn_t_poses_of_known_lengths_give_these_lengths(scale):
    """Driver and reference sit: their shins point at the camera, as only the edits show not."""
    sitting = stretched((9, 12), 0.4) | stretched((3, 6), 0.7)
    driver = clip([figure(SIZE, turn=turn, **sitting) for turn in (0, 5)])
    person = reference(scale, **stretched((9, 10, 12, 13), 0.5))
    drawn = {
        "reference": t_pose(reference(scale, **stretched(LEGS, 0.9)), REFERENCE_SIZE),
        "driver": t_pose(clip([figure(SIZE)]), SIZE),
    }
    sizes = {"reference": REFERENCE_SIZE, "driver": SIZE}
    found = [read(draw(drawn[who].body[0], sizes[who])) for who in sizes]
    frame = best_frame(driver)
    outcome = judge_pictures(
        frame, at_frame(driver, frame), SIZE, person, REFERENCE_SIZE, joined(found)
    )
    assert outcome.problems == {}
    moved = retarget(driver, SIZE, person, REFERENCE_SIZE, outcome.bones)
    # What the driver foreshortens stays foreshortened.
    wanted = lengths(drawn["reference"], REFERENCE_SIZE)[0].copy()
    for child, factor in ((9, 0.4), (12, 0.4), (3, 0.7), (6, 0.7)):
        wanted[ENDS.index(child)] *= factor
    long = wanted > 40
    shown = lengths(moved, REFERENCE_SIZE)
    np.testing.assert_allclose(shown[:, long], [wanted[long]] * 2, rtol=0.015)
    limbs = [ENDS.index(child) for child in (4, 7, 10, 13)]
    np.testing.assert_allclose(shown[:, limbs], [wanted[limbs]] * 2, rtol=0.01)


def test_bones_keep_their_directions_and_hands_their_wrists(driver):
    person = reference()
    standard = edited(driver, person).bones
    moved = retarget(driver, SIZE, person, REFERENCE_SIZE, standard)
    np.testing.assert_allclose(ratios(moved, person), 1, rtol=0.01)
    after, before = bones(moved.body, REFERENCE_SIZE), bones(driver.body, SIZE)
    angles = [np.degrees(np.arctan2(b[..., 1], b[..., 0])) for b in (after, before)]
    assert np.abs((angles[0] - angles[1] + 180) % 360 - 180).max() < 0.5
    for hand, wrist in ((moved.left_hand, 7), (moved.right_hand, 4)):
        assert np.abs((hand[:, 0, :2] - moved.body[:, wrist, :2]) * REFERENCE_SIZE).max() < 1
    np.testing.assert_allclose(moved.body[0, 1, :2], ROOT, atol=1e-6)


def test_nothing_changes_when_driver_and_reference_agree(driver):
    person = at_frame(driver, 4)
    pictures = joined([t_pose(person, SIZE)] * 2)
    outcome = judge_pictures(4, person, SIZE, person, SIZE, pictures)
    moved = retarget(driver, SIZE, person, SIZE, outcome.bones)
    for name, value in vars(driver).items():
        np.testing.assert_allclose(getattr(moved, name), value, atol=1e-5)


@pytest.mark.parametrize("frame", [0, 2, 4])
def test_the_size_in_the_edited_frame_is_not_that_of_the_clip(frame):
    """A person walks nearer, whichever frame is edited."""
    driver = clip([figure(SIZE, turn=turn, scale=1 + turn / 20) for turn in range(0, 60, 10)])
    person = reference(1.2)
    moved = [
        retarget(driver, SIZE, person, REFERENCE_SIZE, edited(driver, person, f).bones)
        for f in (0, frame)
    ]
    np.testing.assert_allclose(moved[1].body, moved[0].body, atol=1e-4)
    sizes = 1 + np.arange(6) / 2
    grown = lengths(moved[1], REFERENCE_SIZE) / lengths(moved[1], REFERENCE_SIZE)[:1]
    np.testing.assert_allclose(grown, np.repeat(sizes[:, None], 19, axis=1), rtol=0.01)


def zoomed(person: Keypoints, factor: float) -> Keypoints:
    """Return a clip whose person is that much larger in the picture."""
    body = person.body.copy()
    body[..., :2] = 0.5 + factor * (body[..., :2] - 0.5)
    return replace(person, body=body)


@pytest.mark.parametrize(("driver_zoom", "reference_zoom"), [(1, 0.7), (0.8, 1), (0.75, 1.3)])
def test_an_edit_that_zooms_changes_no_lengths(driver, driver_zoom, reference_zoom):
    """Only proportions come from the edits; the person is as large as in the unedited pictures."""
    person, before = reference(**stretched((9, 12), 0.5)), at_frame(driver, 0)
    whole = t_pose(reference(**stretched(LEGS, 0.9)), REFERENCE_SIZE), t_pose(before, SIZE)
    zooms = reference_zoom, driver_zoom
    outcomes = [
        judge_pictures(0, before, SIZE, person, REFERENCE_SIZE, joined(pictures))
        for pictures in (whole, [zoomed(*one) for one in zip(whole, zooms, strict=True)])
    ]
    for found, zoom in zip(outcomes[1].sizes.values(), zooms, strict=True):
        assert found == pytest.approx(zoom, rel=0.01)
    moved = [retarget(driver, SIZE, person, REFERENCE_SIZE, o.bones).body for o in outcomes]
    np.testing.assert_allclose(moved[1], moved[0], atol=1e-4)


@pytest.mark.parametrize("turned", [(2, 5), (8, 11)])
def test_the_size_is_that_of_bones_that_are_not_foreshortened(driver, turned):
    """Before, the person stands sideways, or leans to the camera with bent limbs."""
    person = reference(**stretched(turned, 0.2), **stretched((3, 6, 9, 12), 0.6))
    pictures = joined([t_pose(reference(), REFERENCE_SIZE), t_pose(at_frame(driver, 0), SIZE)])
    outcome = judge_pictures(0, at_frame(driver, 0), SIZE, person, REFERENCE_SIZE, pictures)
    assert outcome.sizes["reference"] == pytest.approx(1, rel=0.01)


def test_an_edit_of_quite_another_size_is_not_used(driver):
    person, before = reference(), at_frame(driver, 0)
    pictures = [t_pose(person, REFERENCE_SIZE), zoomed(t_pose(before, SIZE), 0.4)]
    outcome = judge_pictures(0, before, SIZE, person, REFERENCE_SIZE, joined(pictures))
    assert outcome.problems == {"driving frame": "it shows the person 0.40 times as large"}
    # Nothing of the body is in both pictures.
    person.body[0, [joint for joint in range(20) if joint not in (0, 14, 15)], 2] = 0
    outcome = judge_pictures(0, before, SIZE, person, REFERENCE_SIZE, joined(pictures))
    assert "no bone of the body that the unedited picture shows" in outcome.problems["reference"]


@pytest.mark.parametrize(("hidden", "shown"), TWINS)
def test_limb_that_an_edit_hides_is_completed_by_its_twin(driver, hidden, shown):
    person = reference()
    whole = edited(driver, person).bones
    one_sided = edited(driver, person).bones
    one_sided.reference[ENDS.index(hidden)] = one_sided.driver[ENDS.index(hidden)] = np.nan
    moved = [retarget(driver, SIZE, person, REFERENCE_SIZE, b) for b in (whole, one_sided)]
    np.testing.assert_allclose(moved[1].body, moved[0].body, atol=2e-3)


def test_what_both_sides_of_an_edit_hide_scales_with_the_body(driver):
    standard = edited(driver, reference()).bones
    for child in (10, 13):
        standard.reference[ENDS.index(child)] = np.nan
    moved = retarget(driver, SIZE, reference(), REFERENCE_SIZE, standard)
    shin = lengths(moved, REFERENCE_SIZE)[:, ENDS.index(10)]
    np.testing.assert_allclose(shin / LENGTHS[10], 1.2, rtol=0.01)


def test_an_edit_that_lost_something_is_not_used(driver, tmp_path):
    person, before = reference(), at_frame(driver, 0)

    def problems(which: int, *joints: int) -> dict[str, str]:
        pictures = joined([t_pose(person, REFERENCE_SIZE), t_pose(before, SIZE)])
        pictures.body[which, list(joints), 2] = 0.4
        return judge_pictures(0, before, SIZE, person, REFERENCE_SIZE, pictures).problems

    assert problems(0) == problems(1, 4) == problems(0, 10) == {}
    assert problems(0, *FACE) == {"reference": "it lost the face"}
    assert problems(1, 4, 7, 9, 12) == {"driving frame": "it lost the arms and the legs"}
    assert problems(1, 2) == {"driving frame": "it does not show both shoulders"}
    assert problems(0, *range(20)) == {"reference": "it shows no person"}
    # What was hidden before is not lost.
    person.body[0, LEGS, 2] = 0
    assert problems(0, 9, 10, 12, 13) == {}


def test_the_outcome_is_read_as_it_was_written(driver, tmp_path):
    outcome = edited(driver, reference())
    outcome.bones.driver[3] = np.nan
    outcome.to_json(tmp_path / "good.json")
    bones = usable_bones(tmp_path / "good.json")
    assert bones.frame == 0 and np.isnan(bones.driver[3])
    np.testing.assert_allclose(bones.reference, outcome.bones.reference, atol=1e-3)
    lost = {"reference": "it lost the face"}
    Outcome(outcome.bones, lost, outcome.sizes).to_json(tmp_path / "bad.json")
    assert usable_bones(tmp_path / "bad.json") is None and usable_bones(None) is None
    assert Outcome.from_json(tmp_path / "bad.json").usable == 0.5


def test_less_memory_means_parts_then_half_the_bytes_then_layers():
    parts = {"transformer": 24_000_000_000, "vae": 200_000_000}
    smaller = {"transformer": 15_000_000_000}
    found = [plan_placement(parts, gigabytes * 10**9, smaller) for gigabytes in (140, 28, 23, 15)]
    assert found == ["whole", "parts", "fp8", "layers"]
    assert plan_placement(parts, 23 * 10**9) == "layers"
    assert plan_placement(parts | {"text": 20_000_000_000}, 23 * 10**9, smaller) == "layers"
    assert plan_placement(parts, sum(parts.values()) + WORKING_BYTES) == "whole"


def test_nothing_is_edited_without_a_frame_that_can_be(driver, tmp_path):
    """Neither an editor is loaded nor a GPU taken, and the clip goes on as with basic."""
    x = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.repeat(np.tile(x, (48, 1))[..., None], 3, axis=2)
    Image.fromarray(picture).save(tmp_path / "reference.png")
    driver.body[:, 1, 2] = 0.7
    driver.save(tmp_path / "keypoints.npz")
    reference().save(tmp_path / "reference.npz")
    files = {
        "keypoints": tmp_path / "keypoints.npz",
        "reference_keypoints": tmp_path / "reference.npz",
    }
    edits = files | {"model": tmp_path / "none", "prompts": tmp_path / "none"}
    edits |= {"reference": tmp_path / "reference.png", "output": tmp_path / "edited.png"}
    stage("edit_picture", EditSettings(), **edits)
    with Image.open(tmp_path / "edited.png") as same:
        assert (np.asarray(same) == picture).all()
    names = ("edited_reference", "edited_driver")
    files |= dict.fromkeys(names, tmp_path / "edited.png") | {"output": tmp_path / "found.npz"}
    stage("edited_pose", PoseBackend(), bones=tmp_path / "retarget.json", **files)
    outcome = Outcome.from_json(tmp_path / "retarget.json")
    assert outcome.usable == 0 and usable_bones(tmp_path / "retarget.json") is None
    assert "no frame of the driving video shows the person's shoulders" in str(outcome.problems)
    assert not Keypoints.load(tmp_path / "found.npz").found.any()
    # A reference that retargeting cannot use is refused before a GPU is taken, too.
    driver.body[:, 1, 2] = 1
    driver.save(tmp_path / "keypoints.npz")
    hidden = reference()
    hidden.body[:, 1, 2] = 0
    hidden.save(tmp_path / "reference.npz")
    with pytest.raises(ClipError, match="needs a reference that shows the person's shoulders"):
        stage("edit_picture", EditSettings(), **edits)
