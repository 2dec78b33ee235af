"""Find out what of the dense network can be pruned, and what each layer costs."""

from prune3d.data.storage import describe
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.costs.structure_file import write_structure
    from prune3d.models import build
    from prune3d.pruning.analyze import analyze

    data = describe(job.input.train)
    model = build(job.params["model"], len(data.classes), data.side, data.channels)
    structure = analyze(model)
    write_structure(job.output[0], structure)
    job.say(structure.summary())
