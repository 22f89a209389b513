"""Any picture file becomes the same upright RGB picture, or one clear sentence."""

import numpy as np
import pytest
from PIL import Image

from animate.errors import ClipError
from animate.video.reference import load_reference, write_reference
from difficult import REFERENCES, quadrants


@pytest.mark.parametrize("name", REFERENCES)
def test_picture_is_read_right_or_refused(name, tmp_path):
    make, kind = REFERENCES[name]
    path = make(tmp_path)
    if kind == "error":
        with pytest.raises(ClipError, match=r"reference .*;") as caught:
            load_reference(path)
        assert path.name in str(caught.value) and "\n" not in str(caught.value)
        return
    picture = load_reference(path)
    expected = quadrants()
    assert picture.shape == expected.shape and picture.dtype == np.uint8
    if kind == "grey":
        assert np.ptp(picture.astype(int), axis=2).max() == 0
        assert abs(int(picture[5, 5, 0]) - 220) <= 3 or "16" not in name
    elif kind == "alpha":
        assert (picture[:, :40] == 255).all() and picture[5, 100].max() < 230
    else:
        assert np.abs(picture[::40, ::60].astype(int) - expected[::40, ::60]).max() <= 12


def test_written_reference_is_the_picture(tmp_path):
    Image.fromarray(quadrants()).save(tmp_path / "a.png")
    write_reference(tmp_path / "a.png", tmp_path / "src_ref.png")
    with Image.open(tmp_path / "src_ref.png") as written:
        assert written.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(written), quadrants())
