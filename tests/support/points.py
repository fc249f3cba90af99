"""Points of known classes that no model here is made for: unions of anisotropic clusters that overlap, and two moons in noise."""

from __future__ import annotations

import numpy as np

PARTS = 3


def mixture(
    rows: int, dimensions: int = 32, classes: int = 10, seed: int = 0, apart: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Classes that are each a union of Gaussian clusters of their own shapes and sizes, some of other classes between them.

    Args:
      rows: how many.
      dimensions: of a point.
      classes: how many, of unlike sizes.
      seed: of the random numbers.
      apart: how far clusters' middles lie from each other.

    Returns:
      float32, [rows, dimensions]; and the class of each.
    """
    chance = np.random.default_rng(seed)
    clusters = classes * PARTS
    sizes = chance.dirichlet(np.full(clusters, 8.0))
    cluster = chance.choice(clusters, rows, p=sizes)
    points = np.empty((rows, dimensions), np.float32)
    for number in range(clusters):
        middle = chance.normal(size=dimensions)
        middle *= apart * np.sqrt(dimensions) / 2 / np.linalg.norm(middle)
        widths = np.exp(chance.normal(size=dimensions) * 0.8) / 2
        shape = chance.normal(size=(dimensions, dimensions)) * widths / np.sqrt(dimensions)
        own = np.flatnonzero(cluster == number)
        points[own] = chance.normal(size=(len(own), dimensions)) @ shape.T + middle
    return points, cluster // PARTS


def moons(rows: int, dimensions: int = 32, seed: int = 0, noise: float = 0.12) -> tuple[np.ndarray, np.ndarray]:
    """Two moons in a plane that lies askew in noise of all dimensions."""
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, 2, rows)
    turn = chance.random(rows) * np.pi
    points = chance.normal(size=(rows, dimensions)) * noise
    points[:, 0] += np.where(truth, 1 - np.cos(turn), np.cos(turn))
    points[:, 1] += np.where(truth, 0.5 - np.sin(turn), np.sin(turn))
    askew, _ = np.linalg.qr(chance.normal(size=(dimensions, dimensions)))
    return (points @ askew).astype(np.float32), truth
