"""Crystals, what they can show, and which of them explain the spots of a frame."""

from fringemap.phases.cif import read_cif, write_cif
from fringemap.phases.explain import explain_spot
from fringemap.phases.false_names import batch_q
from fringemap.phases.lattice import (
    angle_between,
    cell_volume,
    d_spacings,
    direct_basis,
    g_vectors,
    hkl_of_g,
    reciprocal_basis,
    zone_axis,
)
from fringemap.phases.library import (
    added_phases,
    find_standard,
    list_imported,
    list_structures,
    load_folder,
    load_references,
    load_structure,
    parse_elements,
    structure_path,
)
from fringemap.phases.match import match_spots
from fringemap.phases.reflections import (
    Extinction,
    compute_reflections,
    equivalent_hkl,
    extinct_reflections,
    extinction,
    representative_hkl,
    structure_factors,
    zone_pattern,
)
from fringemap.phases.tables import parse_d_range, parse_hkl, read_d_table

__all__ = [
    "Extinction",
    "added_phases",
    "angle_between",
    "batch_q",
    "cell_volume",
    "compute_reflections",
    "d_spacings",
    "direct_basis",
    "equivalent_hkl",
    "explain_spot",
    "extinct_reflections",
    "extinction",
    "find_standard",
    "g_vectors",
    "hkl_of_g",
    "list_imported",
    "list_structures",
    "load_folder",
    "load_references",
    "load_structure",
    "match_spots",
    "parse_d_range",
    "parse_elements",
    "parse_hkl",
    "read_cif",
    "read_d_table",
    "reciprocal_basis",
    "representative_hkl",
    "structure_factors",
    "structure_path",
    "write_cif",
    "zone_axis",
    "zone_pattern",
]
