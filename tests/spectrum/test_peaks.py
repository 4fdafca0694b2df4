"""Peaks of a graph, held to those of scipy.signal."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fringemap.spectrum import find_peaks, half_widths

STEPS = arrays(np.float64, st.integers(1, 60), elements=st.integers(0, 6).map(float))
CURVES = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e3, 1e3, width=32))


@given(STEPS | CURVES)
@settings(max_examples=300, deadline=None)
def test_peaks_and_their_prominence_are_those_of_scipy(graph):
    position, found = scipy.signal.find_peaks(graph, prominence=0.0)
    peaks = find_peaks(graph)
    np.testing.assert_array_equal(peaks.position, position)
    np.testing.assert_allclose(peaks.prominence, found["prominences"])


@given(STEPS)
@settings(max_examples=100, deadline=None)
def test_half_widths_are_those_of_scipy(graph):
    position = find_peaks(graph).position
    expected = scipy.signal.peak_widths(graph, position, rel_height=0.5)[0]
    np.testing.assert_allclose(half_widths(graph, position), expected)


def test_the_width_of_a_triangle_is_half_its_base():
    graph = np.maximum(10.0 - np.abs(np.arange(41) - 20.0), 0.0)
    assert half_widths(graph, np.array([20])) == pytest.approx([10.0])


def test_a_graph_without_peaks_has_none():
    for graph in (np.zeros(5), np.arange(7.0), np.arange(7.0)[::-1], np.ones(1)):
        assert len(find_peaks(graph).position) == len(half_widths(graph, find_peaks(graph).position)) == 0
