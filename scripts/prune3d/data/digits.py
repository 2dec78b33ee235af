"""Handwritten digits of scikit-learn: 1,797 grey images of 8x8 pixels, no download.

They are the test part of "Optical Recognition of Handwritten Digits" (UCI, E. Alpaydin and
C. Kaynak, 1998).
"""

from __future__ import annotations

import numpy as np

from prune3d.data.settings import DataSettings
from prune3d.data.source import Labelled, Source


def read(settings: DataSettings, download: bool) -> Source:
    """Return all images, scaled from the original 0..16 to 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    everything = Labelled(images[:, None], digits.target.astype(np.int64))
    return Source(everything, None, tuple(str(name) for name in digits.target_names))
