"""How right the maps are: area bias, overlap, false area, coverage of the stated error; over grain size and strength.

Run ``python benchmarks/maps_accuracy.py``; it takes one to two minutes and prints three tables.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from fringemap.maps import compute_maps, to_full_size
from fringemap.settings import MapSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from map_frames import diffractogram_of, disc, draw_frame, match_of, spots_at

PIXEL = (0.37, 0.37)
DIAMETERS = (30.0, 40.0, 60.0, 100.0, 200.0, 400.0)
STRENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6)


def one_grain(diameter, amplitude, n_spots, rng, side):
    """Relative area error, stated sigma over the area, overlap, resolution, false area of one drawn grain."""
    shape = (side, side)
    truth = disc(shape, PIXEL, rng.uniform(0.45, 0.55, 2) * side, diameter)
    angle = rng.uniform(0.0, 0.6) + np.arange(n_spots) * 0.7 - 1.4
    gx, gy = 0.4 * np.cos(angle), 0.4 * np.sin(angle)
    frame = draw_frame(
        shape, PIXEL, [(amplitude, x, y, truth) for x, y in zip(gx, gy, strict=True)], noise=1.0, rng=rng
    )
    dg = diffractogram_of(frame, PIXEL, side**2)
    spots = spots_at(gx, gy, amplitude=amplitude, diameter=diameter)
    (found,) = compute_maps(dg, spots, match_of({"grain": range(n_spots)}, n_spots), settings=MapSettings())
    mask, true_mask = to_full_size(found, dg).mask, truth > 0.5
    overlap = np.count_nonzero(mask & true_mask) / np.count_nonzero(mask | true_mask)
    area = truth.mean()
    return found.area_fraction / area - 1.0, found.area_sigma / area, overlap, found.resolution_angstrom


def print_grains(n_spots, repeats, rng):
    """One table: a row for each grain size and fringe amplitude."""
    print(f"\nround grains of {n_spots} spot(s), white noise of sigma 1, {PIXEL[0]} Å/px")
    print("  D nm  A/sigma  resolution nm  seen %  area bias %  area sd %  stated sd %  within 1 sd %  IoU")
    for diameter in DIAMETERS:
        side = 1024 if diameter < 250.0 else 2048
        for amplitude in STRENGTHS:
            rows = np.array([one_grain(diameter, amplitude, n_spots, rng, side) for _ in range(repeats)])
            seen = rows[rows[:, 2] > 0.0]
            start = f"{diameter / 10:6.1f} {amplitude:8.1f} {rows[0, 3] / 10:14.2f} {100 * len(seen) / len(rows):7.0f}"
            if len(seen) < 3:
                print(start)
                continue
            error, stated, overlap, _ = seen.T
            inside = 100.0 * np.mean(np.abs(error) < stated)
            print(
                f"{start} {100 * error.mean():12.1f} {100 * error.std(ddof=1):10.1f} {100 * np.median(stated):12.1f} "
                f"{inside:14.0f} {overlap.mean():5.2f}"
            )


def print_noise(repeats, rng):
    """False area where there is no crystal, ours beside Otsu's."""
    print("\nfalse area on noise alone, spots at random, % of the frame")
    print("  spots  D nm  amplitude map  frames with any  otsu")
    shape = (1024, 1024)
    for n_spots in (1, 5):
        for diameter in (30.0, 100.0, 400.0):
            ours, otsu = [], []
            for _ in range(repeats):
                dg = diffractogram_of(rng.standard_normal(shape), PIXEL, np.prod(shape))
                angle, g = rng.uniform(-1.5, 1.5, n_spots), rng.uniform(0.2, 0.8, n_spots)
                spots = spots_at(g * np.cos(angle), g * np.sin(angle), amplitude=0.2, diameter=diameter)
                match = match_of({"none": range(n_spots)}, n_spots)
                ours.append(compute_maps(dg, spots, match, settings=MapSettings())[0].area_fraction)
                if len(otsu) < 3:
                    otsu.append(compute_maps(dg, spots, match, settings=MapSettings(map="otsu"))[0].area_fraction)
            share = 100.0 * np.mean(np.array(ours) > 0.0)
            areas = f"{100 * np.mean(ours):14.4f} {share:15.0f}% {100 * np.mean(otsu):5.1f}"
            print(f"{n_spots:7d} {diameter / 10:5.1f} {areas}")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=6, help="frames for each row")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    for n_spots in (1, 4):
        print_grains(n_spots, arguments.repeats, rng)
    print_noise(2 * arguments.repeats, rng)


if __name__ == "__main__":
    main()
