"""On the model's grid no cell is partly black but known, after everything that files do to it."""

from pathlib import Path

import numpy as np
import pytest

from animate.config.settings import ClipSettings
from animate.matte.grid import CELL, spread, whole_cells
from animate.sampling.conditions.latents import background_mask
from animate.video.files import VideoWriter, read_masks, read_segment
from animate.video.timeline import Timeline
from stages import stage

SIZE, COUNT = (208, 112), 6
SETTINGS = ClipSettings(resolution_area="215x115", fps="source")


def ellipses() -> list[np.ndarray]:
    """Return masks uint8 0/1 of an outline that moves across the cells."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return [
        ((((x - 61 - 9 * n) / 37) ** 2 + ((y - 51 - 3 * n) / 29) ** 2) < 1).astype(np.uint8)
        for n in range(COUNT)
    ]


def test_touched_cells_are_filled_and_no_others():
    mask = np.zeros((16, 24), np.uint8)
    mask[7, 8] = mask[15, 23] = 1
    filled = np.zeros((2, 3), np.uint8)
    filled[0, 1] = filled[1, 2] = 1
    grown = whole_cells(mask)
    assert grown.dtype == np.uint8
    np.testing.assert_array_equal(grown, spread(filled))
    np.testing.assert_array_equal(whole_cells(grown), grown)
    assert mask.sum() == 2


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder with a light, coloured clip, whose frames are smaller than the model's, and masks.

    No cell of the picture is black.
    """
    folder = tmp_path_factory.mktemp("clip")
    noise = np.random.default_rng(3)
    with VideoWriter(folder / "clip.mp4", (202, 108), 24) as video:
        for _ in range(COUNT):
            tiles = noise.integers(150, 230, (27, 51, 3)).astype(np.uint8)
            video.write(tiles.repeat(4, axis=0).repeat(4, axis=1)[:, :202])
    video, timeline = folder / "clip.mp4", folder / "timeline.json"
    stage("timeline", SETTINGS, video=video, output=timeline)
    assert Timeline.from_json(folder / "timeline.json").model_size == SIZE
    with VideoWriter(folder / "person.mp4", SIZE, 24, "mask") as video:
        for mask in ellipses():
            video.write(255 * mask)
    return folder


def draw(clip: Path, folder: Path, settings: ClipSettings) -> tuple[Path, Path]:
    """Write mask and background of the clip into `folder`; return them."""
    mask, shown = folder / "src_mask.mp4", folder / "src_bg.mp4"
    timeline, person = clip / "timeline.json", clip / "person.mp4"
    stage("mask", settings, timeline=timeline, person_mask=person, output=mask)
    stage("background", settings, video=clip / "clip.mp4", timeline=timeline, mask=mask,
          output=shown)  # fmt: skip
    return mask, shown


def black_shares(background: Path) -> np.ndarray:
    """Return the share of each cell's pixels that are black, (F, h / 8, w / 8)."""
    black = read_segment(background, 0, COUNT).max(axis=-1) < 75
    # A last row of pixels is the letterbox's.
    black[:, -1] = black[:, -2]
    return black.reshape(COUNT, SIZE[1] // CELL, CELL, -1, CELL).mean(axis=(2, 4))


@pytest.mark.parametrize("steady", [True, False])
def test_what_the_model_takes_for_known_is_not_black_and_the_rest_is(clip, tmp_path, steady):
    settings = SETTINGS.model_copy(update={"mask_iterations": 0, "mask_steady": steady})
    mask, shown = draw(clip, tmp_path, settings)
    unknown = 1 - background_mask(read_segment(mask, 0, COUNT)).numpy()
    assert 0.1 < unknown.mean() < 0.6
    np.testing.assert_array_equal(black_shares(shown), unknown)
    for outline, there in zip(ellipses(), unknown, strict=True):
        assert not (outline > spread(there)).any()


def test_the_official_rule_cuts_through_cells(clip, tmp_path):
    update = {"mask_iterations": 0, "mask_steady": False, "mask_grid": "pixel"}
    mask, shown = draw(clip, tmp_path, SETTINGS.model_copy(update=update))
    np.testing.assert_array_equal(list(read_masks(mask)), ellipses())
    known = background_mask(read_segment(mask, 0, COUNT)).numpy() == 1
    assert (black_shares(shown)[known] > 0.2).sum() > 5 * COUNT


def test_a_mask_edited_by_hand_blackens_what_the_model_takes_for_unknown(clip, tmp_path):
    with VideoWriter(tmp_path / "src_mask.mp4", SIZE, 24, "mask") as video:
        for mask in ellipses():
            video.write(255 * mask)
    files = {"video": clip / "clip.mp4", "timeline": clip / "timeline.json"}
    mask, shown = tmp_path / "src_mask.mp4", tmp_path / "src_bg.mp4"
    stage("background", SETTINGS, **files, mask=mask, output=shown)
    unknown = 1 - background_mask(read_segment(mask, 0, COUNT)).numpy()
    np.testing.assert_array_equal(black_shares(shown), unknown)
