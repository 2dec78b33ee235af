"""What rules ask of an experiment: files, settings of each job, work. Needs no torch.

An `Experiment` is made of a checked config. Its methods take the wildcards of a job by name, so
that a rule says what it depends on by naming one of them.
"""

from __future__ import annotations

from prune3d.workflow.experiment.files import ExperimentFiles
from prune3d.workflow.experiment.settings import ExperimentSettings
from prune3d.workflow.experiment.work import ExperimentWork


class Experiment(ExperimentFiles, ExperimentSettings, ExperimentWork):
    """A named (data set, model, recipe); see `ExperimentBase`."""
