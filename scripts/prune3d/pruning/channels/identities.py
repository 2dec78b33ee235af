"""Identities of channels, and which of them must go together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

# What has no identity: it is there whatever is pruned.
NONE = 0


class ConflictError(Exception):
    """Two identities that are known to be different were found in one place."""

    def __init__(self, what: str = "channels that do not belong together meet") -> None:
        super().__init__(what)


class Classes:
    """Classes of identities that go together: a union-find forest over 0..n-1.

    Parameters
    ----------
    strict
        Whether joining two classes is a `ConflictError`.
    alike
        Classes that may meet all the same, since all of them stay.
    """

    def __init__(self, strict: bool = False, alike: Iterable[int] = ()) -> None:
        self.strict = strict
        self._alike = np.array(sorted(alike), dtype=np.int64)
        self._parent: Ids = np.zeros(1, dtype=np.int64)
        self._frozen: list[tuple[Ids, str]] = []

    def __len__(self) -> int:
        """Return the number of identities, `NONE` included."""
        return len(self._parent)

    def new(self, count: int) -> Ids:
        """Return new identities, each a class of its own."""
        start = len(self._parent)
        ids = np.arange(start, start + count, dtype=np.int64)
        self._parent = np.concatenate([self._parent, ids])
        return ids

    def find(self, ids: Ids) -> Ids:
        """Return the root of each identity's class."""
        roots = self._parent[ids]
        while True:
            above = self._parent[roots]
            if np.array_equal(above, roots):
                break
            roots = above
        self._parent[ids] = roots
        return roots

    def unite(self, a: Ids, b: Ids) -> None:
        """Join the classes of identities pairwise; `NONE` joins nothing.

        Raises
        ------
        ConflictError
            If the classes are strict and two of them would become one.
        """
        named = (a != NONE) & (b != NONE)
        a, b = self.find(a[named]), self.find(b[named])
        apart = a != b
        if not apart.any():
            return
        if self.strict:
            if (apart & ~(np.isin(a, self._alike) & np.isin(b, self._alike))).any():
                raise ConflictError
            return
        for x, y in set(zip(a[apart].tolist(), b[apart].tolist(), strict=True)):
            low, high = sorted((self._root(x), self._root(y)))
            self._parent[high] = low

    def all_alike(self, ids: Ids) -> bool:
        """Tell whether identities are all of classes that may meet."""
        return bool(np.isin(self.find(ids[ids != NONE]), self._alike).all())

    def _root(self, x: int) -> int:
        while self._parent[x] != x:
            x = int(self._parent[x])
        return x

    def freeze(self, ids: Ids, reason: str) -> None:
        """Say why identities must all stay."""
        ids = np.unique(ids[ids != NONE])
        if len(ids):
            self._frozen.append((ids, reason))

    def frozen(self) -> dict[int, str]:
        """Return the roots that must stay, each with its first reason."""
        reasons: dict[int, str] = {}
        for ids, reason in self._frozen:
            for root in np.unique(self.find(ids)).tolist():
                reasons.setdefault(root, reason)
        return reasons


def merged(vectors: Iterable[Ids], count: int) -> Ids:
    """Return for each place the first identity that some vector names there."""
    result = np.zeros(count, dtype=np.int64)
    for vector in vectors:
        result = np.where(result == NONE, vector, result)
    return result
