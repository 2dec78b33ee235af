"""What a job asks a cluster for: minutes and memory, from what the config says. Needs no torch.

Estimates for a GPU of some years ago. A training that takes longer is ended by the cluster, keeps
its state, and goes on in the next attempt, which may take longer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from prune3d.data.registry import DatasetFacts

PIXELS_PER_SECOND = 5e6
START_MINUTES = 10
# What jobs time: the grid of measure_latency with what checks it, and the multiples of
# measure_rounding at two budgets beside the dense network.
TIMED = {"grid": 156, "multiples": 13}
# Making a network and writing it as ONNX; TensorRT builds an engine as well.
NETWORK_SECONDS = {"torch": 5, "onnxruntime": 5, "tensorrt": 120}
# What passes while networks are timed, a VGG-16 on one core of a CPU among them.
TIMED_PIXELS_PER_SECOND = {"cpu": 1e5, "cuda": PIXELS_PER_SECOND}
# A training of days is cut into attempts: shorter jobs start sooner.
LONGEST_MINUTES = 24 * 60
BASE_MB = 4000
MOST_MB = 64000
# Where only a walk through folders tells: as many as ImageNet has.
UNKNOWN_IMAGES = 1_300_000


def timing_minutes(networks: int, pixels: float, runtime: str, place: str, attempt: int) -> int:
    """Return the time limit of a job that times networks one after the other.

    Parameters
    ----------
    networks
        Their number.
    pixels
        That pass through each of them, those of warming up among them.
    runtime
        See `prune3d.pruning.timing.LatencyOptions`.
    place
        ``cpu`` or ``cuda``.
    attempt
        From 1 on.
    """
    each = NETWORK_SECONDS[runtime] + pixels / TIMED_PIXELS_PER_SECOND[place]
    return min(LONGEST_MINUTES, attempt * (START_MINUTES + math.ceil(networks * each / 60)))


@dataclass(frozen=True)
class Workload:
    """The images that a job passes through a network.

    Attributes
    ----------
    images
        Number of images of the data set.
    side, channels
        Of one image.
    epochs
        Passes over them.
    resident_mb
        The most of them that is held in memory, as bytes.
    """

    images: int
    side: int
    channels: int
    epochs: int
    resident_mb: float = math.inf

    @classmethod
    def of(cls, data: DatasetFacts, epochs: int, resident_gb: float) -> Workload:
        """Return the workload of a data set."""
        images = UNKNOWN_IMAGES if data.images is None else data.images + (data.test_images or 0)
        return cls(images, data.side, data.channels, epochs, 1000 * resident_gb)

    def minutes(self, attempt: int) -> int:
        """Return the time limit to ask for at an attempt, from 1 on."""
        seconds = self.images * self.epochs * self.side**2 / PIXELS_PER_SECOND
        return min(LONGEST_MINUTES, attempt * (START_MINUTES + math.ceil(seconds / 60)))

    def memory_mb(self, attempt: int, processes: int = 1) -> int:
        """Return the memory to ask for: twice the images as bytes beside torch itself.

        Where several processes train, each has torch and the images once more.
        """
        data = min(self.resident_mb, self.images * self.side**2 * self.channels / 1e6)
        workers = processes * (BASE_MB + data) if processes > 1 else 0
        most = MOST_MB * max(1, processes)
        return min(most, attempt * math.ceil(BASE_MB + 2 * data + workers))
