"""Moving depth, width and resolution along an estimated gradient of the loss. No torch.

After JointPruning (Liu et al., "Joint Multi-Dimension Pruning via Numerical Gradient Update", arXiv
2005.08931), which has no public code. From its abstract: pruning is the search for the best vector
of depth, channels and image size; the loss is no explicit function of it, so that a stochastic
estimate of its gradient, adapted to the place, moves all dimensions together. All else is ours:
one width for all layers; weights of the dense network instead of weights that are trained
meanwhile, with batch norms estimated anew; differences between two networks on both sides of the
place; steps of a length that shrinks; and the network of the least loss of all that were judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune3d.costs.lattice import Lattice
from prune3d.optimize.choice import Choice
from prune3d.optimize.curves import next_to, power_rule, using
from prune3d.optimize.policies import describe
from prune3d.optimize.rivals import UNIFORM, Question
from prune3d.optimize.search import describe as describe_index

Vector = NDArray[np.float64]
Loss = Callable[[Mapping[str, Any]], float]

STEPS = 6
REACH = 0.15  # how far from the place the networks lie whose losses are compared, in logarithms
FIRST_STEP = 0.3  # length of the first step, in logarithms
WORST = 1e3  # a loss that is not finite counts as this
# In the plane on which d w^2 r^2 stays.
PLANE = np.array([[0.0, 1.0, -1.0], [4.0, -1.0, -1.0]])
PLANE /= np.linalg.norm(PLANE, axis=1, keepdims=True)


def joint_gradient(question: Question) -> Choice:
    """Descend on the loss of networks that use the budget, from the one with equal thirds."""
    if question.loss is None:
        raise ValueError("this policy needs the losses of networks, and none are given")
    surface = Surface(question)
    generator = np.random.default_rng(question.seed)
    start = next_to(question.lattice, question.budget, power_rule(UNIFORM))
    place = surface.nearest(np.log([start.depth, start.width, start.resolution]))
    for step in range(STEPS):
        surface.loss(place)
        gradient = surface.gradient(place, generator.uniform(0, np.pi / 2))
        length = np.linalg.norm(gradient)
        if not length:
            break
        way = FIRST_STEP * (1 - step / STEPS) * gradient / length
        place = surface.nearest(surface.logs[place] - way)
    surface.loss(place)
    return surface.best()


class Surface:
    """The networks that use a budget, and the losses of those that were judged.

    Parameters
    ----------
    question
        With ``loss``.

    Attributes
    ----------
    logs : ndarray of shape (n, 3)
        Logarithms of the ratios of all that use the budget.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._networks = using(question.lattice, question.budget)
        self.logs: Vector = np.log(question.lattice.points(self._networks))
        self._losses: dict[int, float] = {}

    def nearest(self, place: Vector) -> int:
        """Return the network nearest to a place, which projects it on the budget."""
        return int(np.argmin(np.linalg.norm(self.logs - place, axis=1)))

    def loss(self, network: int) -> float:
        """Return the loss of a network, which is judged once."""
        if network not in self._losses:
            ask = self._question.loss
            assert ask is not None
            found = ask(describe(self._choice(network), self._question.candidates))
            self._losses[network] = found if np.isfinite(found) else WORST
        return self._losses[network]

    def gradient(self, network: int, angle: float) -> Vector:
        """Estimate the gradient of the loss at a network, shape (3,).

        Parameters
        ----------
        network
            By its place in `logs`.
        angle
            By which the two directions are turned along which losses are compared.
        """
        turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        gradient = np.zeros(3)
        for direction in turned @ PLANE:
            ends = [self.nearest(self.logs[network] + s * REACH * direction) for s in (1, -1)]
            way = self.logs[ends[0]] - self.logs[ends[1]]
            if ends[0] != ends[1]:
                gradient += (self.loss(ends[0]) - self.loss(ends[1])) * way / (way @ way)
        return gradient

    def best(self) -> Choice:
        """Return the judged network of the least loss, of equal ones the first."""
        losses = sorted((loss, network) for network, loss in self._losses.items())
        return self._choice(losses[0][1])

    def _choice(self, network: int) -> Choice:
        lattice: Lattice = self._question.lattice
        return describe_index(lattice, int(self._networks[network]), None, len(self._networks))
