"""A mean and std of a network's own, solved from what its first batch norm remembers.

Of the mean and variance of each channel, scale and shift of each colour are the unknowns: six
against twice as many equations as the first layer has channels. Solved by Levenberg-Marquardt
(Marquardt, "An Algorithm for Least-Squares Estimation of Nonlinear Parameters", 1963) with Huber's
weights, so that a channel that was dead in training does not decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostedge_convert.statistics.candidates import Candidate
from ghostedge_convert.statistics.stem import Array, Stem, term_indices
from ghostedge_runtime.metadata import ColorOrder

_ITERATIONS, _RESAMPLED_ITERATIONS = 40, 6
_RESAMPLES = 40
_HUBER = 0.5
_STEP = 1e-4
_LARGEST_STEP = 1.0


@dataclass(frozen=True)
class OwnNormalization:
    """What was solved.

    Attributes:
        candidate: Called ``its own``.
        mean_error: One standard error of each mean over resampled images, on the [0, 1] scale.
        std_error: The same of each std.
    """

    candidate: Candidate
    mean_error: tuple[float, ...]
    std_error: tuple[float, ...]


def solve_normalization(
    stem: Stem, starts: Iterable[Candidate], seed: int = 0
) -> OwnNormalization | None:
    """The mean and std under which images come closest to what the first batch norm remembers.

    Args:
        stem: Of the images.
        starts: Where to start, each in its own order of colours; the closest solution is taken.
        seed: Of the resampling of images.

    Returns:
        None where no start leads to a finite solution.
    """
    solutions = [
        (*_solve(problem, _parameters(start), _ITERATIONS), start.color_order, problem)
        for start in starts
        for problem in [_Problem.of(stem, start.color_order)]
    ]
    cost, solution, order, _ = min(solutions, key=lambda each: each[0])
    if not np.isfinite(cost):
        return None
    random = np.random.default_rng(seed)
    resampled = []
    for _ in range(_RESAMPLES):
        chosen = random.integers(0, stem.images, stem.images)
        problem = _Problem.of(stem, order, chosen)
        _, values = _solve(problem, solution, _RESAMPLED_ITERATIONS)
        resampled.append(np.stack(_mean_std(values)))
    mean_error, std_error = np.std(resampled, axis=0)
    mean, std = _mean_std(solution)
    return OwnNormalization(
        Candidate("its own", _rounded(mean), _rounded(std), order),
        _rounded(mean_error),
        _rounded(std_error),
    )


@dataclass(frozen=True)
class _Problem:
    """Mean responses over all images, of one order: means (channels, terms), products."""

    stem: Stem
    means: Array
    products: Array

    @staticmethod
    def of(stem: Stem, order: ColorOrder, chosen: npt.NDArray[np.int64] | None = None) -> _Problem:
        terms = term_indices(stem.colors, order)
        images = slice(None) if chosen is None else chosen
        means = stem.means[images].mean(0)[:, terms]
        products = stem.products[images].mean(0)[:, terms][:, :, terms]
        return _Problem(stem, means, products)

    def residuals(self, parameters: Array) -> Array:
        """Of each channel its mean's in stds and its log std's; (2 · channels,).

        The sum of their squares is, close to the solution, twice the divergence of `NormLayer`.
        """
        scale, shift = np.split(parameters, 2)
        weights = np.concatenate([np.exp(scale), shift, [1.0]])
        norm = self.stem.norm
        remembered = norm.running_var + norm.epsilon
        mean = self.means @ weights
        variance = np.maximum((self.products @ weights) @ weights - mean**2, 0) + norm.epsilon
        return np.concatenate(
            [
                (mean - norm.running_mean) / np.sqrt(remembered),
                np.log(variance / remembered) / np.sqrt(2),
            ]
        )


def _solve(problem: _Problem, start: Array, iterations: int) -> tuple[float, Array]:
    """Huber's cost and the parameters there."""
    parameters, damping = start, 1e-2
    residuals = problem.residuals(parameters)
    cost = _huber(residuals)
    for _ in range(iterations):
        steps = _STEP * np.eye(len(parameters))
        jacobian = np.stack(
            [(problem.residuals(parameters + step) - residuals) / _STEP for step in steps], axis=1
        )
        weights = np.minimum(1, _HUBER / np.maximum(np.abs(residuals), 1e-12))
        normal = (jacobian.T * weights) @ jacobian
        damped = normal + damping * np.diag(np.diag(normal) + 1e-9)
        step = -np.linalg.solve(damped, (jacobian.T * weights) @ residuals)
        step *= min(1.0, _LARGEST_STEP / max(float(np.abs(step).max()), 1e-12))
        tried = problem.residuals(parameters + step)
        if _huber(tried) < cost:
            parameters, residuals, damping = parameters + step, tried, damping / 5
            cost = _huber(tried)
        else:
            damping *= 5
    return cost, parameters


def _huber(residuals: Array) -> float:
    size = np.abs(residuals)
    return float(np.where(size < _HUBER, size**2 / 2, _HUBER * (size - _HUBER / 2)).sum())


def _parameters(candidate: Candidate) -> Array:
    mean, std = np.array(candidate.mean), np.array(candidate.std)
    return np.concatenate([-np.log(std), -mean / std])


def _mean_std(parameters: Array) -> tuple[Array, Array]:
    scale, shift = np.split(parameters, 2)
    std = np.exp(-scale)
    return -shift * std, std


def _rounded(values: Array) -> tuple[float, ...]:
    return tuple(float(f"{value:.4g}") for value in values)
