"""The real SAM 2 predictor, with random weights: windows, prompts and shapes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
build_sam = pytest.importorskip("sam2.build_sam", reason="the sam2 package is optional")

from animate.errors import ClipError  # noqa: E402
from animate.matte import sam2  # noqa: E402
from animate.matte.points import Prompt  # noqa: E402
from animate.matte.sam2 import (  # noqa: E402
    PROMPT_POINTS,
    load_predictor,
    masks,
    object_masks,
    prompts,
)

COUNT, WINDOW, OVERLAP = 7, 4, 2
IMAGE_SIZE = 128


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A file of random weights in the released layout and under a released name."""
    torch.manual_seed(0)
    model = build_sam.build_sam2_video_predictor("configs/sam2.1/sam2.1_hiera_t.yaml", None, "cpu")
    path = tmp_path_factory.mktemp("sam2") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": model.state_dict()}, path)
    return path


def bodies(*seen: int) -> np.ndarray:
    """Return body points (7, 20, 3) in pixels, of a person seen in these frames."""
    body = np.zeros((COUNT, 20, 3))
    body[list(seen)] = (80, 40, 1)
    return body


def prompt(*points: tuple[int, int, int], box: tuple[int, ...] | None = None) -> Prompt:
    """Return a frame's prompt of points x, y and label, and a box."""
    values = np.reshape(points, (-1, 3))
    return Prompt(values[:, :2].astype(np.float32), values[:, 2].astype(np.int32),
                  None if box is None else np.array(box, np.float32))  # fmt: skip


@pytest.fixture
def told(monkeypatch) -> list[tuple]:
    """What the predictor is told: frame of the window, object, points with labels, box or mask."""
    heard = []

    def load(*args):
        predictor = load_predictor(*args)
        add, add_mask = predictor.add_new_points_or_box, predictor.add_new_mask

        def points_or_box(state, frame, each, *, points, labels, box):
            marks = np.column_stack([points, labels]).astype(int).tolist()
            heard.append((frame, each, marks, None if box is None else box.tolist()))
            return add(state, frame, each, points=points, labels=labels, box=box)

        def mask(state, frame, each, first):
            heard.append((frame, each, "mask"))
            return add_mask(state, frame, each, first)

        predictor.add_new_points_or_box, predictor.add_new_mask = points_or_box, mask
        return predictor

    monkeypatch.setattr(sam2, "load_predictor", load)
    return heard


def run(
    checkpoint, body: np.ndarray, shots: tuple[int, ...] = (0,), **marked
) -> tuple[list[np.ndarray], int]:
    """Return the masks, and the most frames that were taken ahead of the mask handed out."""
    taken = 0

    def frames():
        nonlocal taken
        for number in range(COUNT):
            taken += 1
            yield np.full((96, 160, 3), 20 * number, np.uint8)

    found, ahead = [], 0
    for mask in masks(
        frames(), body, checkpoint=checkpoint, device="cpu", shots=shots,
        window=WINDOW, overlap=OVERLAP, image_size=IMAGE_SIZE, **marked,
    ):  # fmt: skip
        ahead = max(ahead, taken - len(found))
        found.append(mask)
    return found, ahead


def test_every_frame_has_a_mask_and_only_a_window_is_in_memory(checkpoint):
    found, ahead = run(checkpoint, bodies(*range(COUNT)))
    assert len(found) == COUNT and ahead <= WINDOW
    for mask in found:
        assert mask.shape == (96, 160) and mask.dtype == np.uint8 and mask.max() <= 1


def test_frames_before_the_person_is_seen_are_tracked_backwards(checkpoint):
    found, _ = run(checkpoint, bodies(2, 3))
    assert len(found) == COUNT and found[0].any()


def test_a_window_without_the_person_goes_on_from_the_mask_before(checkpoint):
    found, _ = run(checkpoint, bodies(0))
    assert all(mask.any() for mask in found)


@pytest.mark.parametrize(("seen", "masked"), [(0, range(3)), (6, range(3, COUNT))])
def test_each_shot_is_prompted_anew_and_nothing_is_tracked_over_a_cut(checkpoint, seen, masked):
    found, ahead = run(checkpoint, bodies(seen), (0, 3))
    assert [number for number in range(COUNT) if found[number].any()] == list(masked)
    assert ahead <= WINDOW


def test_nobody_means_empty_masks(checkpoint):
    found, _ = run(checkpoint, bodies())
    assert len(found) == COUNT and not any(mask.any() for mask in found)


def test_prompts_are_the_seen_points_of_four_spread_frames():
    body = np.tile((3.0, 7.0, 1.0), (41, 20, 1))
    body[:, 10, 2] = 0
    body[20] = 0
    chosen = prompts(body)
    assert list(chosen) == [0, 13, 27, 40]
    assert {len(points) for points in chosen.values()} == {len(PROMPT_POINTS) - 1}
    assert {tuple(point) for points in chosen.values() for point in points} == {(3, 7)}
    assert prompts(np.zeros((3, 20, 3))) == {}


@pytest.mark.parametrize("name", ["sam2_hiera_large.pt", "weights.pt"])
def test_missing_checkpoint_is_named(tmp_path, name):
    with pytest.raises(ClipError, match=name):
        load_predictor(tmp_path / name)


def test_gpu_that_is_not_there_is_missed(checkpoint):
    if torch.cuda.is_available():
        load_predictor(checkpoint, "cuda")
    else:
        with pytest.raises(ClipError, match="GPU"):
            load_predictor(checkpoint, "cuda")


def test_the_users_marks_are_told_beside_the_body_points_of_their_frame(checkpoint, told):
    marked = {1: prompt((20, 30, 1), (90, 60, 0)), 5: prompt(box=(10, 20, 60, 90))}
    found, _ = run(checkpoint, bodies(0, 1), marked=marked)
    body = [[80, 40, 1]] * len(PROMPT_POINTS)
    # Windows are frames 0 to 3, 2 to 5 and 4 to 6; the last one begins with the mask of frame 4.
    assert told == [
        (0, 0, body, None),
        (1, 0, [*body, [20, 30, 1], [90, 60, 0]], None),
        (0, 0, "mask"),
        (3, 0, [], [10, 20, 60, 90]),
        (0, 0, "mask"),
        (1, 0, [], [10, 20, 60, 90]),
    ]
    plain, _ = run(checkpoint, bodies(0, 1))
    assert any((a != b).any() for a, b in zip(found, plain, strict=True))


def test_body_points_that_the_user_contradicts_are_not_told(checkpoint, told):
    run(checkpoint, bodies(0), marked={0: prompt((81, 41, 0), (20, 30, 1))})
    assert told[0] == (0, 0, [[81, 41, 0], [20, 30, 1]], None)
    told.clear()
    run(checkpoint, bodies(0), marked={0: prompt(box=(100, 10, 150, 90))})
    assert told[0] == (0, 0, [], [100, 10, 150, 90])


def test_a_person_that_only_the_user_marks_is_tracked(checkpoint):
    found, _ = run(checkpoint, bodies(), marked={2: prompt((80, 40, 1))})
    assert all(mask.any() for mask in found)


def test_objects_are_tracked_each_for_itself_in_their_shots(checkpoint, told):
    marked = {"guitar": {0: prompt((20, 30, 1))}, "phone": {4: prompt(box=(90, 20, 140, 80))}}
    options = {"checkpoint": checkpoint, "device": "cpu", "shots": (0, 3)}
    options |= {"window": WINDOW, "overlap": OVERLAP, "image_size": IMAGE_SIZE}
    frames = [np.full((96, 160, 3), 20 * number, np.uint8) for number in range(COUNT)]
    both = list(object_masks(iter(frames), COUNT, marked, **options))
    assert told == [(0, 0, [[20, 30, 1]], None), (1, 1, [], [90, 20, 140, 80])]
    for name, seen in (("guitar", range(3)), ("phone", range(3, COUNT))):
        alone = list(object_masks(iter(frames), COUNT, {name: marked[name]}, **options))
        assert [number for number in range(COUNT) if alone[number].any()] == list(seen)
        for number in seen:
            np.testing.assert_array_equal(alone[number], both[number])
    assert len(both) == COUNT and both[0].shape == (96, 160) and both[0].dtype == np.uint8
