"""Signs of directions, where no choice agrees everywhere."""

import itertools

import numpy as np
import pytest

from flowrepro.analysis.orientation import agreement, cosines_of_neighbours, orientations


def test_directions_that_can_agree_do() -> None:
    angle = np.linspace(-0.75 * np.pi, 0.75 * np.pi, 300)
    flips = np.random.default_rng(0).choice([-1.0, 1.0], 300)
    tangents = flips[:, None] * np.stack([-np.sin(angle), np.cos(angle)], 1)
    cosines = cosines_of_neighbours(tangents, np.stack([np.cos(angle), np.sin(angle)], 1))
    first, second = orientations(cosines)
    assert agreement(first, cosines) == pytest.approx(1) and abs((first * flips).sum()) == 300
    # the other choice turns in the middle of the curve
    assert 0.9 < agreement(second, cosines) < 1 and abs((second * flips).sum()) < 60


def test_neighbours_alone_are_compared() -> None:
    points = np.array([[0.0], [1.0], [2.1], [9.0]])
    directions = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [1.0, 0.0]])
    expected = [[0, 0.6, 0, 0], [0.6, 0, 0.8, 0], [0, 0.8, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(cosines_of_neighbours(directions, points, neighbours=1), expected)


def test_no_other_signs_of_a_few_directions_agree_more() -> None:
    generator = np.random.default_rng(1)
    lines, points = generator.normal(size=(9, 3)), generator.normal(size=(9, 3))
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    cosines = cosines_of_neighbours(lines, points, neighbours=8)
    np.testing.assert_allclose(cosines, lines @ lines.T - np.eye(9), atol=1e-12)
    first, second = orientations(cosines)
    best = max(agreement(np.array(s), cosines) for s in itertools.product([-1, 1], repeat=9))
    assert agreement(first, cosines) == pytest.approx(best)
    for signs in (first, second):
        assert signs.sum() >= 0 and (signs * (cosines @ signs)).min() > -1e-6


def test_the_choice_that_agrees_more_is_first() -> None:
    generator = np.random.default_rng(2)
    for _ in range(100):
        half = generator.normal(size=(12, 12))
        cosines = half + half.T - np.diag(2 * np.diag(half))
        first, second = orientations(cosines)
        assert agreement(first, cosines) >= agreement(second, cosines)


def test_two_equal_points_and_none_that_are_alike() -> None:
    cosines = cosines_of_neighbours(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.zeros((2, 2)))
    first, _ = orientations(cosines)
    assert agreement(first, cosines) == 1 and first.prod() == -1
    assert agreement(first, np.zeros((2, 2))) == 0
