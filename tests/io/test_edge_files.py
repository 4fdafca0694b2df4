"""Small real files that a reader meets: each is read as it should be, or refused in one sentence that says why."""

from __future__ import annotations

import csv

import pytest

from fringemap.errors import ReadError
from fringemap.io import read
from fringemap.records import Flag

SPECTRUM, COMPLEX, DIFFRACTION, TINY = "spectrum", "complex numbers", "diffraction pattern", "at least 32 a side"

REFUSED = {
    "derived_text_renamed.dm3": "not what its ending",
    "derived_truncated.emd": "truncated",
    "derived_truncated_20kB.dm4": "cut off",
    "derived_zero_byte.dm3": "empty",
    "ncem_08_carbon_EELS_1xN.dm3": SPECTRUM,
    "rsciio_1D_EDS_spectrum.dm3": SPECTRUM,
    "rsciio_1D_EELS.ser": SPECTRUM,
    "rsciio_1D_EELS_spectrum.dm3": SPECTRUM,
    "rsciio_1D_test-1.dm4": SPECTRUM,
    "rsciio_EELS_SI.dm4": SPECTRUM,
    "rsciio_SI_negative_scale.ser": SPECTRUM,
    "rsciio_FFT_packed_complex8.dm4": COMPLEX,
    "rsciio_2x2_complex64.dm3": COMPLEX,
    "rsciio_2x2_complex128.dm3": COMPLEX,
    "rsciio_velox_complex_fft.emd": COMPLEX,
    "rsciio_diffraction_pattern_1nm-1.dm3": DIFFRACTION,
    "rsciio_diffraction_preview5_1.ser": DIFFRACTION,
    "rsciio_diffraction_tags_removed.dm3": DIFFRACTION,
    "rsciio_2x2_RGBA.dm4": TINY,
    "rsciio_2x2_bool.dm3": "true and false",
    "rsciio_2x2_type9.dm3": TINY,
    "rsciio_3D_2x2x2.dm4": TINY,
    "rsciio_DE_Custom_movie_px-1.mrc": TINY,
    "rsciio_DE_ROI_movie.mrc": TINY,
    "rsciio_Fei_HAADF-DE_location.dm3": TINY,
    "rsciio_RGB.tif": TINY,
    "rsciio_emd_axis_len_1.emd": TINY,
    "rsciio_emd_object_dtype.emd": "not numbers",
    "rsciio_prismatic_Si100_3D.emd": TINY,
    "rsciio_stackbuilder_stack_um.dm3": TINY,
    "rsciio_velox_tem_stack_pm.emd": TINY,
}

# Number of frames, frame shape, pixel size along (rows, cols) [nm].
READ = {
    "emi_pair/64x64x5_TEM_preview.emi": (5, (64, 64), (6.2818336, 6.2818336)),
    "emi_pair/64x64x5_TEM_preview_1.ser": (5, (64, 64), (6.2818336, 6.2818336)),
    "hk_DMtiff_sjis_micrometer_unit.tif": (1, (512, 512), (2.98845675, 2.98845675)),
    "ncem_dmTest_3D_int16.dm3": (66, (65, 64), (3.0, 0.002)),
    "ncem_dmTest_nonSquare_diffPixelSize.dm4": (1, (64, 128), (0.2, 1.0)),
    "ncem_temp.mrc": (3, (128, 128), (0.2, 0.2)),
    "rsciio_DM_tif_stack_nonsquare_px.tif": (2, (68, 68), (1686.74004, 168.674007)),
    "rsciio_JEOL_SightX.tif": (1, (556, 556), (1.82078853, 1.82078853)),
    "rsciio_STEM_image_68px.dm3": (1, (68, 68), (0.248538017, 0.248538017)),
    "rsciio_TEM_preview5_1.ser": (5, (64, 64), (6.2818336, 6.2818336)),
    "rsciio_TEM_search_1.ser": (1, (128, 128), (5.2612142, 5.2612142)),
    "rsciio_dm_image_um_unit.dm3": (1, (68, 68), (168.674693, 168.674693)),
    "rsciio_imageJ.tif": (1, (68, 68), (168.674711, 168.674711)),
    "rsciio_imageJ_no_scale.tif": (1, (68, 68), None),
    "rsciio_imageJ_stack.tif": (2, (68, 68), (168.674711, 168.674711)),
    "rsciio_multi_signal.dm3": (1, (512, 512), (0.0177515782, 0.0177515782)),
    "rsciio_olympus_SIS_m_units.tif": (1, (101, 112), (0.0239279178, 0.0239279178)),
    "rsciio_rgba16.tif": (3, (128, 128), None),
    "rsciio_velox_FFTComplexEven.emd": (1, (128, 128), (27.1152956, 27.1152956)),
}

RESOLVES_LATTICES = {
    "ncem_dmTest_3D_int16.dm3",
    "ncem_dmTest_nonSquare_diffPixelSize.dm4",
    "ncem_temp.mrc",
    "rsciio_imageJ_no_scale.tif",
    "rsciio_multi_signal.dm3",
    "rsciio_olympus_SIS_m_units.tif",
    "rsciio_rgba16.tif",
}


def test_every_edge_file_has_an_expected_handling(shared_data):
    folder = shared_data("edge")
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert found == {*REFUSED, *READ, "README.csv", "emi_pair/64x64x5_TEM_preview.emi"}


def test_the_list_of_expected_handling_can_be_read(shared_data):
    with (shared_data("edge") / "README.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) > 10


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_no_lattice_image_is_refused_in_one_sentence(name, shared_data):
    path = shared_data(f"edge/{name}")
    with pytest.raises(ReadError) as caught:
        read(path)
    message = str(caught.value)
    assert path.name in message
    assert REFUSED[name] in message
    assert "\n" not in message


@pytest.mark.parametrize("name", sorted(READ))
def test_what_is_an_image_is_read_with_its_shape_and_pixel_size(name, shared_data):
    n_frames, shape, size = READ[name]
    with read(shared_data(f"edge/{name}")) as series:
        assert (len(series), series.frame_shape) == (n_frames, shape)
        if size is None:
            assert series.scale is None
            assert any("--pixel-size" in warning for warning in series.warnings)
        else:
            assert [s / 10 for s in series.scale.pixel_size_angstrom] == pytest.approx(size, rel=1e-6)
        assert series[n_frames - 1].image.shape == shape


@pytest.mark.parametrize("name", sorted(READ))
def test_pixels_too_coarse_for_any_lattice_are_said_to_be(name, shared_data):
    with read(shared_data(f"edge/{name}")) as series:
        coarse = name not in RESOLVES_LATTICES
        assert bool(series[0].flags & Flag.COARSE_SAMPLING) == coarse
        assert any("too coarse" in warning for warning in series.warnings) == coarse


@pytest.mark.parametrize("name", ["ncem_dmTest_nonSquare_diffPixelSize.dm4", "rsciio_DM_tif_stack_nonsquare_px.tif"])
def test_pixels_that_are_not_square_are_said_to_be(name, shared_data):
    with read(shared_data(f"edge/{name}")) as series:
        assert series.flags & Flag.ANISOTROPIC_PIXELS
        assert any("not square" in warning for warning in series.warnings)


def test_both_files_of_a_tia_pair_give_the_same(shared_data):
    with (
        read(shared_data("edge/emi_pair/64x64x5_TEM_preview.emi")) as a,
        read(shared_data("edge/emi_pair/64x64x5_TEM_preview_1.ser")) as b,
    ):
        assert a.metadata == b.metadata
        assert a.metadata["high_tension_kv"] == 200.0
        assert (a[3].image == b[3].image).all()
