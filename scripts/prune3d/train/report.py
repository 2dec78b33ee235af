"""What a training tells while it runs: lines for people, and event files for TensorBoard."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prune3d.errors import UserError
from prune3d.progress import time_left

SECONDS_BETWEEN_MESSAGES = 10.0
log = logging.getLogger(__name__)


class Progress:
    """Tell epoch, images/s, loss, accuracy and time left, at most every ten seconds.

    Parameters
    ----------
    epochs, first
        Epochs in all, and how many were done by an interrupted run.
    images
        Images of an epoch.
    """

    def __init__(self, epochs: int, first: int, images: int) -> None:
        self._epochs, self._first, self._images = epochs, first, images
        self._begun = self._last = time.monotonic()

    def due(self) -> bool:
        """Tell whether it is time for a line."""
        return time.monotonic() - self._last > SECONDS_BETWEEN_MESSAGES

    def seconds(self) -> float:
        """Return the time since the beginning."""
        return time.monotonic() - self._begun

    def tell(self, epochs_done: float, loss: float, top1: float) -> None:
        """Write a line to the log.

        Parameters
        ----------
        epochs_done
            Over all runs; a fraction within an epoch.
        loss, top1
            Means over the images of this epoch so far.
        """
        self._last = time.monotonic()
        seconds, done = self.seconds(), epochs_done - self._first
        epoch = f"{epochs_done:.0f}" if epochs_done == int(epochs_done) else f"{epochs_done:.2f}"
        log.info(
            "epoch %s/%d, %.0f images/s, loss %.3f, training accuracy %.1f %%, %s",
            epoch,
            self._epochs,
            self._images * done / max(seconds, 1e-9),
            loss,
            100 * top1,
            time_left(seconds, done, self._epochs - self._first),
        )


class TensorBoard:
    """Event files of one training, a point an epoch.

    Parameters
    ----------
    folder
        Where they are written.
    first
        Epochs that an interrupted run has done; what it wrote after them is hidden.

    Raises
    ------
    UserError
        If the package is not installed.
    """

    def __init__(self, folder: Path, first: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError(
                "tensorboard is true, but the package tensorboard is not installed "
                "(pip install tensorboard)."
            ) from None
        self._writer: Any = SummaryWriter(str(folder), purge_step=first + 1)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row of the history, and let it be seen."""
        for name, value in row.items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(name, value, row["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
