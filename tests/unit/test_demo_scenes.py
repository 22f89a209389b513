"""The scenes that the demo's model is trained on agree with what the workflow shows a model."""

import sys
from pathlib import Path

import numpy as np
import pytest

TOOLS = Path(__file__).parents[2] / "tools/train_demo"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    sys.path.insert(0, str(TOOLS))
    try:
        import photograph
        import scenes
    finally:
        sys.path.remove(str(TOOLS))
    folder = tmp_path_factory.mktemp("photograph")
    photograph.main(folder)
    person = scenes.load_person(folder / "photograph.npz")
    return scenes, person, {mode: scenes.make_scene(person, mode, 3) for mode in scenes.SIZES}


def test_only_the_person_of_a_replacement_differs_from_the_background(made):
    scene = made[2]["replace"]
    outside = scene.mask == 0
    assert 0.1 < outside.mean() < 0.9
    np.testing.assert_array_equal(scene.background[outside], scene.target[outside])
    assert not scene.background[~outside].any()


def test_skeletons_lie_on_the_person(made):
    scene = made[2]["replace"]
    drawn = scene.pose.any(axis=-1)
    assert (scene.mask[drawn] == 1).mean() > 0.95


def test_animation_has_no_background_and_the_references_shape(made):
    scenes, _, clips = made
    scene, (width, height) = clips["animate"], scenes.SIZES["animate"]
    assert not len(scene.background)
    assert scene.target.shape == (scenes.FRAMES, height, width, 3)
    assert scene.reference.shape == (height, width, 3)


def test_a_mouth_opens_as_far_as_it_is_said(made):
    scenes, person, _ = made
    changed = [np.any(scenes.open_mouth(person, a) != person.photo, axis=-1) for a in (0, 0.3, 1)]
    assert changed[0].sum() == 0 < changed[1].sum() < changed[2].sum()
    x, y = person.face[1 + 66, :2].astype(int)
    rows, columns = np.nonzero(changed[2])
    assert abs(columns.mean() - x) < 10 and y - 10 < rows.mean() < y + 60


def test_the_same_seed_gives_the_same_scene(made):
    scenes, person, clips = made
    again = scenes.make_scene(person, "animate", 3)
    for name, values in vars(clips["animate"]).items():
        np.testing.assert_array_equal(getattr(again, name), values)
