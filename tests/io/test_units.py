import pytest

from fringemap.io.units import UnitKind, angstrom_per_unit, unit_kind


@pytest.mark.parametrize(
    ("unit", "angstrom"),
    [
        ("nm", 10.0),
        ("NM", 10.0),
        (" nm\0", 10.0),
        ("[n_m]", 10.0),
        ("nanometers", 10.0),
        ("pm", 0.01),
        ("A", 1.0),
        ("Å", 1.0),
        ("\u212b", 1.0),
        ("Angstrom", 1.0),
        ("angstroms", 1.0),
        ("um", 1e4),
        ("\u00b5m", 1e4),
        ("\u03bcm", 1e4),
        ("micron", 1e4),
        ("microns", 1e4),
        ("micrometer", 1e4),
        ("\\u00B5m", 1e4),
        ("\u00b5m".encode().decode("latin-1"), 1e4),
        ("\u03bcm".encode().decode("cp1252"), 1e4),
        (b"\x83\xcam".decode("cp1252"), 1e4),
        (b"\x83\xcam".decode("latin-1"), 1e4),
        ("mm", 1e7),
        ("cm", 1e8),
        ("m", 1e10),
        ("meters", 1e10),
    ],
)
def test_every_spelling_of_a_length_is_known(unit, angstrom):
    assert angstrom_per_unit(unit) == angstrom
    assert unit_kind(unit) is UnitKind.LENGTH


@pytest.mark.parametrize("unit", ["1/nm", "1 / µm", "1/A", "nm^-1", "nm⁻¹", "Å-1", "1/m", "A^(-1)"])
def test_reciprocal_lengths_are_told_from_lengths(unit):
    assert unit_kind(unit) is UnitKind.RECIPROCAL
    assert angstrom_per_unit(unit) is None


@pytest.mark.parametrize(
    ("unit", "kind"),
    [
        ("", UnitKind.NONE),
        ("px", UnitKind.NONE),
        ("pixels", UnitKind.NONE),
        ("mrad", UnitKind.ANGLE),
        ("eV", UnitKind.ENERGY),
        ("keV", UnitKind.ENERGY),
        ("s", UnitKind.OTHER),
        ("furlong", UnitKind.OTHER),
        ("\ufffdm", UnitKind.OTHER),
    ],
)
def test_what_is_no_length_gives_none(unit, kind):
    assert unit_kind(unit) is kind
    assert angstrom_per_unit(unit) is None
