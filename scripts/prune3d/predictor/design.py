"""Can a sampling design determine the predictor? Needs numpy only, so a Snakefile can ask."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prune3d.predictor.basis import Array, basis_values, data_domain, tensor_rows

KINDS = ("full", "low_rank")
RIVALS = ("additive", "gaussian_process", "neighbours", "boosting", "pareto_process", "scaling_law")
LOSSES = ("squared", "robust")
SHAPES = ("none", "increasing", "diminishing")
AXES = ("depth", "width", "resolution")


def unknowns(kind: str, degree: int, rank: int = 1, n_features: int = 3) -> int:
    """Count the coefficients of a predictor.

    Parameters
    ----------
    kind : {"full", "low_rank"}
    degree : int
        K, at least 0.
    rank : int
        R, at least 1; ignored by "full".
    n_features : int
        p.

    Returns
    -------
    int
        (K + 1)^p for "full" [paper, with p = 3], p R (K + 1) for "low_rank" (ours). Of the latter
        (p - 1) R are free scales that cancel between factors.

    Raises
    ------
    ValueError
        If an argument is not one of the above.
    """
    _check_arguments(kind, degree, rank)
    terms = degree + 1
    return terms**n_features if kind == "full" else n_features * rank * terms


def check_design(
    points: ArrayLike, kind: str, degree: int, rank: int = 1, few: Collection[str] = ()
) -> None:
    """Raise when the samples cannot determine the polynomial, whatever the labels are.

    A column with a single level is a dimension that is left as it is, since a network cannot be
    pruned along it: the polynomial is one of the others. A column named in `few` may have any
    number of levels L: the degree asked of the samples is then at most L - 1 in it, and of higher
    ones the ridge takes the smoothest curve through them.

    Parameters
    ----------
    points : array-like of shape (n, p)
        Depth, width and resolution ratios to be sampled; p = 3 in the workflow.
    kind : {"full", "low_rank"}
    degree : int
    rank : int
        Ignored by "full".
    few : collection of str
        Dimensions of which the network has no more levels.

    Raises
    ------
    ValueError
        If another column has more than one but fewer than degree + 1 levels, no column has more
        than one, or the samples fix fewer coefficients than the polynomial has: for "full" the
        rank of the design matrix, for "low_rank" the rank of the Jacobian at a random polynomial,
        where the scales that cancel do not count (ours).
    """
    _check_arguments(kind, degree, rank)
    X = np.asarray(points, dtype=float)
    if X.ndim != 2 or len(X) == 0:
        raise ValueError(f"points must have shape (n, p) with n >= 1, got shape {X.shape}")
    names = AXES if X.shape[1] == len(AXES) else [f"column {m}" for m in range(X.shape[1])]
    varied = [m for m in range(X.shape[1]) if len(np.unique(X[:, m].round(9))) > 1]
    if not varied and degree > 0:
        raise ValueError(f"the design varies none of {', '.join(names)}; add levels of one")
    if varied:
        X = X[:, varied]
    degrees = _degrees(X, [names[m] for m in varied], degree, few)
    asked = np.arange(degree + 1) <= degrees[:, None]
    basis = basis_values(X, data_domain(X), degree) * asked[:, None, :]
    if kind == "full":
        _check_full(basis, int(np.prod(degrees + 1)))
    else:
        _check_low_rank(X, basis, asked, rank)


def _check_arguments(kind: str, degree: int, rank: int) -> None:
    if kind not in KINDS:
        raise ValueError(f"the kind of predictor is {kind!r} but must be one of {', '.join(KINDS)}")
    if degree < 0:
        raise ValueError(f"degree is {degree} but must be at least 0")
    if rank < 1:
        raise ValueError(f"rank is {rank} but must be at least 1")


def _degrees(
    X: Array, names: Sequence[str], degree: int, few: Collection[str]
) -> NDArray[np.int64]:
    """Return the degree that is asked of the samples in each column, shape (p,)."""
    degrees = np.full(X.shape[1], degree)
    for m, (name, column) in enumerate(zip(names, X.T, strict=False)):
        levels = len(np.unique(column.round(9)))
        if name in few:
            degrees[m] = min(degree, levels - 1)
        elif levels <= degree:
            raise ValueError(
                f"the design has {levels} {name} level{'s' * (levels != 1)} but degree {degree} "
                f"needs at least {degree + 1}; add {name} levels or lower the degree"
            )
    return degrees


def _check_full(basis: Array, needed: int) -> None:
    degree = basis.shape[2] - 1
    found = _rank(tensor_rows(basis))
    if found < needed:
        raise ValueError(
            f"the design of {basis.shape[1]} points determines {found} of the {needed} "
            f"coefficients of the full polynomial of degree {degree}; use a grid design, lower the "
            f"degree or use the low_rank predictor"
        )


def _check_low_rank(X: Array, basis: Array, asked: NDArray[np.bool_], rank: int) -> None:
    columns, samples, terms = basis.shape
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((columns, rank, terms))
    everywhere = _product_grid(columns, terms - 1) * asked[:, None, :]
    needed = _rank(_jacobian(everywhere, factors))
    found = _rank(_jacobian(basis, factors))
    if found == needed:
        return
    if rank > 1 and _on_axes(X):
        raise ValueError(
            f"the design samples the axes alone, which determines {found} of the {needed} free "
            f"coefficients of rank {rank}; use a grid design or rank 1"
        )
    raise ValueError(
        f"the design of {samples} points determines {found} of the {needed} free coefficients of "
        f"the low_rank polynomial of degree {terms - 1} and rank {rank}; add points or lower the "
        f"{'rank' if rank > 1 else 'degree'}"
    )


def _product_grid(columns: int, degree: int) -> Array:
    """Return the basis on a grid that sees every coefficient of the tensor."""
    levels = np.linspace(0, 1, degree + 1)
    X = np.stack(np.meshgrid(*[levels] * columns, indexing="ij"), axis=-1).reshape(-1, columns)
    return basis_values(X, np.tile([0.0, 1.0], (columns, 1)), degree)


def _jacobian(basis: Array, factors: Array) -> Array:
    """Differentiate sum_q prod_m H(x_m; factors[m, q]) by all factors: (n, p R (K + 1))."""
    curves = np.einsum("mnk,mqk->mqn", basis, factors)
    blocks = []
    for m in range(len(basis)):
        others = np.prod(np.delete(curves, m, axis=0), axis=0)
        blocks += [other[:, None] * basis[m] for other in others]
    return np.hstack(blocks)


def _rank(matrix: Array) -> int:
    return int(np.linalg.matrix_rank(matrix, rtol=1e-9))


def _on_axes(X: Array) -> bool:
    """Tell whether every point differs from one common point in at most one column."""
    rounded = X.round(9)
    return any(bool(np.all(np.sum(rounded != centre, axis=1) <= 1)) for centre in rounded)
