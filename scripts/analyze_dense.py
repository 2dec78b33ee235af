"""Find out what of the dense network can be pruned, without layers that are kept, and its costs."""

from prune3d.data.storage import describe
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.costs.structure_file import write_structure
    from prune3d.models import build
    from prune3d.pruning.analyze import analyze
    from prune3d.pruning.dense import keep_layers
    from prune3d.workflow.config import check_structure

    data = describe(job.input.train)
    model = build(job.params["model"], len(data.classes), data.side, data.channels)
    keep = job.params.get("keep")
    if keep:
        keep_layers(model, keep)
    structure = analyze(model)
    write_structure(job.output[0], structure)
    job.say(structure.summary())
    if keep:
        check_structure(job, job.output[0])
