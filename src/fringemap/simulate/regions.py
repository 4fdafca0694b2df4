"""Where a region lies on the pixels of a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.simulate.scene import Ellipse, HalfPlane, Polygon

if TYPE_CHECKING:
    from fringemap.records import FloatArray, Image
    from fringemap.simulate.scene import Point, Region, Scene


@dataclass(frozen=True)
class Coverage:
    """The part of a frame that a region covers: a window and the covered share of each of its pixels."""

    rows: slice
    cols: slice
    share: Image
    """0 to 1, of the window's shape."""


def region_origin(region: Region | None) -> Point:
    """Return the place that a region's lattice is tied to: centre, mean corner, point on the edge, or the origin."""
    match region:
        case Ellipse():
            return region.centre
        case Polygon():
            y, x = np.mean(region.corners, axis=0)
            return float(y), float(x)
        case HalfPlane():
            return region.edge
        case None:
            return 0.0, 0.0


def cover(region: Region | None, scene: Scene) -> Coverage:
    """Rasterise a region that moves with the specimen; edges are anti-aliased over one pixel.

    Notes
    -----
    The covered share of a pixel is its signed distance from the edge, in pixels, clipped: exact for straight edges
    along the axes, within a few percent of one pixel elsewhere. An ellipse's distance is taken to first order.
    """
    rows, cols = _window(region, scene)
    y = places(scene, 0, rows).astype(np.float32)[:, None]
    x = places(scene, 1, cols).astype(np.float32)[None, :]
    match region:
        case Ellipse():
            distance = _ellipse_distance(region, y, x)
        case Polygon():
            distance = _polygon_distance(region, y, x)
        case HalfPlane():
            cos_a, sin_a = np.float32(math.cos(region.angle)), np.float32(math.sin(region.angle))
            distance = (y - np.float32(region.edge[0])) * sin_a + (x - np.float32(region.edge[1])) * cos_a
        case None:
            return Coverage(rows, cols, np.ones((y.shape[0], x.shape[1]), np.float32))
    pixel = np.float32(math.sqrt(scene.pixel_size_angstrom[0] * scene.pixel_size_angstrom[1]))
    distance /= -pixel
    distance += np.float32(0.5)
    return Coverage(rows, cols, np.clip(distance, 0, 1, out=distance))


def places(scene: Scene, axis: int, window: slice | None = None) -> FloatArray:
    """Where pixels of a row or column lie on the specimen, as the scene was laid out [Å]."""
    window = window or slice(0, scene.frame_shape[axis])
    pixels = np.arange(window.start, window.stop)
    return pixels * scene.pixel_size_angstrom[axis] - scene.shift_angstrom[axis]


def _ellipse_distance(region: Ellipse, y: Image, x: Image) -> Image:
    y, x = y - np.float32(region.centre[0]), x - np.float32(region.centre[1])
    cos_a, sin_a = np.float32(math.cos(region.angle)), np.float32(math.sin(region.angle))
    a, b = (np.float32(d / 2) for d in region.diameters)
    u, v = (x * cos_a + y * sin_a) / a, (y * cos_a - x * sin_a) / b
    rho2 = u * u + v * v
    slope = 2 * np.sqrt((u / a) ** 2 + (v / b) ** 2)
    return np.asarray((rho2 - 1) / np.maximum(slope, np.float32(1e-6)), np.float32)


def _polygon_distance(region: Polygon, y: Image, x: Image) -> Image:
    corners = np.array(region.corners)
    edges = np.roll(corners, -1, axis=0) - corners
    turn = np.sign(_shoelace(corners))
    normals = turn * np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.hypot(edges[:, 0], edges[:, 1])[:, None]
    distance = np.full(np.broadcast_shapes(y.shape, x.shape), -np.inf, np.float32)
    for (ny, nx), (cy, cx) in zip(normals, corners, strict=True):
        beyond = (y - np.float32(cy)) * np.float32(ny) + (x - np.float32(cx)) * np.float32(nx)
        np.maximum(distance, beyond, out=distance)
    return distance


def _shoelace(corners: FloatArray) -> float:
    """Area with a sign: positive where y x (y, x) turns from y to x."""
    y, x = corners[:, 0], corners[:, 1]
    return float(np.sum(y * np.roll(x, -1) - x * np.roll(y, -1)) / 2)


def _window(region: Region | None, scene: Scene) -> tuple[slice, slice]:
    """Rows and columns that the region can touch, at least empty slices inside the frame."""
    low, high = _bounds(region)
    windows = []
    for axis in range(2):
        n, pixel, shift = scene.frame_shape[axis], scene.pixel_size_angstrom[axis], scene.shift_angstrom[axis]
        first, last = (low[axis] + shift) / pixel - 1, (high[axis] + shift) / pixel + 2
        start = int(np.clip(np.floor(first), 0, n)) if np.isfinite(first) else 0
        stop = int(np.clip(np.ceil(last), start, n)) if np.isfinite(last) else n
        windows.append(slice(start, stop))
    return windows[0], windows[1]


def _bounds(region: Region | None) -> tuple[Point, Point]:
    match region:
        case Ellipse():
            a, b = region.diameters[0] / 2, region.diameters[1] / 2
            reach_x = math.hypot(a * math.cos(region.angle), b * math.sin(region.angle))
            reach_y = math.hypot(a * math.sin(region.angle), b * math.cos(region.angle))
            y, x = region.centre
            return (y - reach_y, x - reach_x), (y + reach_y, x + reach_x)
        case Polygon():
            corners = np.array(region.corners)
            (y0, x0), (y1, x1) = corners.min(axis=0), corners.max(axis=0)
            return (float(y0), float(x0)), (float(y1), float(x1))
        case _:
            return (-math.inf, -math.inf), (math.inf, math.inf)
