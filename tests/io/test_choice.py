from pathlib import Path

import numpy as np
import pytest

from fringemap.errors import ReadError
from fringemap.io.choice import choose_signal
from fringemap.io.signals import NO_SIZE, Content, Signal, StoredSize, unusable

NM = (StoredSize(0.02, "nm"), StoredSize(0.02, "nm"))
PER_NM = (StoredSize(0.02, "1/nm"), StoredSize(0.02, "1/nm"))


def signal(title, shape=(64, 64), dtype="f4", sizes=NM, n_frames=1):
    return Signal(title, n_frames, shape, np.dtype(dtype), lambda _i: np.zeros(shape), pixel_size=sizes)


def choose(*signals):
    return choose_signal(Path("file.dm3"), Content("some format", signals))


def test_the_largest_image_with_a_pixel_size_is_taken():
    best, _remarks = choose(
        signal("small"),
        signal("large", (128, 128)),
        signal("larger without size", (512, 512), sizes=NO_SIZE),
        signal("largest but reciprocal", (999, 999), sizes=PER_NM),
        signal("largest but complex", (999, 999), "c8"),
    )
    assert best.title == "large"


def test_the_user_is_told_what_else_could_have_been_taken():
    _best, remarks = choose(signal("HAADF"), signal("BF"), unusable("EDS", "is a spectrum"))
    (remark,) = remarks
    assert "HAADF" in remark
    assert "BF" in remark
    assert "EDS" not in remark


def test_of_equal_images_the_first_is_taken():
    assert choose(signal("first"), signal("second"))[0].title == "first"


def test_without_any_size_the_largest_is_taken():
    assert choose(signal("a", sizes=NO_SIZE), signal("b", (65, 64), sizes=NO_SIZE))[0].title == "b"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (signal("x", dtype="c8"), "complex"),
        (signal("x", dtype="?"), "true and false"),
        (signal("x", dtype="O"), "not numbers"),
        (signal("x", sizes=PER_NM), "diffraction pattern"),
        (signal("x", sizes=(StoredSize(0.1, "mrad"),) * 2), "diffraction pattern"),
        (signal("x", (31, 500)), "at least 32"),
        (signal("x", (500, 31)), "at least 32"),
        (signal("x", n_frames=0), "makes no sense"),
        (unusable("x", "is a spectrum"), "is a spectrum"),
    ],
)
def test_what_is_no_lattice_image_is_refused_with_its_reason(bad, reason):
    with pytest.raises(ReadError, match=reason) as caught:
        choose(bad)
    assert str(caught.value).startswith("file.dm3 ")


def test_a_file_without_any_signal_is_refused():
    with pytest.raises(ReadError, match="holds no image"):
        choose()
