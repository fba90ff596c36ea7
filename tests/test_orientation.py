"""Signs of directions, where no choice agrees everywhere."""

import itertools

import numpy as np
import pytest

from flowrepro.analysis.orientation import orientations


def flipped(lines: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], len(lines))
    return lines * signs[:, None], signs


def test_directions_that_can_agree_do() -> None:
    angle = np.linspace(-0.75 * np.pi, 0.75 * np.pi, 300)
    tangents, signs = flipped(np.stack([-np.sin(angle), np.cos(angle)], 1))
    first, second = orientations(tangents, np.stack([np.cos(angle), np.sin(angle)], 1))
    assert first.agreement == pytest.approx(1) and abs((first.signs * signs).sum()) == 300
    # what is next turns in the middle of the curve
    assert 0.9 < second.agreement < 1 and abs((second.signs * signs).sum()) < 60


def test_no_other_signs_of_a_few_directions_agree_more() -> None:
    generator = np.random.default_rng(1)
    lines, points = generator.normal(size=(9, 3)), generator.normal(size=(9, 3))
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    first, second = orientations(lines, points, neighbours=8)
    cosines = lines @ lines.T - np.eye(9)
    fits = sorted(np.array(s) @ cosines @ np.array(s) for s in itertools.product([-1, 1], repeat=9))
    assert first.agreement == pytest.approx(fits[-1] / np.abs(cosines).sum())
    assert second.agreement <= first.agreement
    for one in (first, second):
        assert one.signs.sum() >= 0 and (one.signs * (cosines @ one.signs)).min() > -1e-6


def test_two_equal_points() -> None:
    first, second = orientations(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.zeros((2, 2)))
    assert first.agreement == 1 and first.signs.prod() == -1
