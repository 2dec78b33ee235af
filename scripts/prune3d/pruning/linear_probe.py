"""A linear classifier on standardized features, fitted and judged batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

PENALTY = 1e-3


@dataclass(frozen=True)
class LinearProbe:
    """Ridge regression on one-hot labels.

    Attributes
    ----------
    mean, spread
        Of the features over the images of the fit, float64, shape (features,).
    weights
        float64, shape (features, classes).
    centre
        Share of each class, float64, shape (classes,).
    """

    mean: Tensor
    spread: Tensor
    weights: Tensor
    centre: Tensor

    def judge(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the number of right answers and the sum of squared errors, float64, shape (2,)."""
        scores = (features.double() - self.mean) / self.spread @ self.weights + self.centre
        right = (scores.argmax(1) == labels).double().sum()
        return torch.stack((right, (scores - one_hot(labels, len(self.centre))).square().sum()))


class NormalEquations:
    """Sums over images from which a probe is fitted in closed form.

    However many the images: (features + classes) x features numbers of float64.

    Parameters
    ----------
    num_classes
        Classes.
    features
        The first batch, whose mean the sums are taken around: what is nearly the same in all images
        would be lost in the sums of squares otherwise.
    """

    def __init__(self, num_classes: int, features: Tensor) -> None:
        count = features.shape[1]
        self._classes, self._images = num_classes, 0
        self._origin = features.double().mean(0)
        self._sum = torch.zeros_like(self._origin)
        self._squares = self._sum.new_zeros(count, count)
        self._by_class = self._sum.new_zeros(count, num_classes)
        self._labels = self._sum.new_zeros(num_classes)

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Add images.

        Parameters
        ----------
        features
            Shape (n, features).
        labels
            int64, shape (n,).
        """
        x, targets = features.double() - self._origin, one_hot(labels, self._classes).double()
        self._images += len(x)
        self._sum += x.sum(0)
        self._squares += x.T @ x
        self._by_class += x.T @ targets
        self._labels += targets.sum(0)

    def fit(self) -> LinearProbe:
        """Return the probe of the images so far, with a penalty of 1e-3 a sample (ours)."""
        n, mean = self._images, self._sum / self._images
        centre = self._labels / n
        scatter = self._squares - n * torch.outer(mean, mean)
        spread = (scatter.diagonal() / (n - 1)).clamp_min(0).sqrt().clamp_min(1e-6)
        gram = scatter / torch.outer(spread, spread)
        gram.diagonal().add_(PENALTY * n)
        with_targets = (self._by_class - n * torch.outer(mean, centre)) / spread[:, None]
        weights = torch.linalg.solve(gram, with_targets)
        return LinearProbe(self._origin + mean, spread, weights, centre)
