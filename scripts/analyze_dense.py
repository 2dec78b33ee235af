"""Find out what of the dense network can be pruned, and what each layer costs."""

from prune3d.data.storage import describe
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_json
    from prune3d.models import build
    from prune3d.pruning.analyze import analyze

    data = describe(job.input.train)
    model = build(job.params["model"], len(data.classes), data.side, data.channels)
    structure = analyze(model)
    write_json(job.output[0], structure.to_dict())
    job.say(structure.summary())
