"""Train the dense network."""

from prune3d.data.storage import describe
from prune3d.job import Job

with Job(snakemake) as job:
    from prune3d.models import build
    from prune3d.train.session import Session

    data = describe(job.input.train)
    session = Session(job, stage="dense")
    session.seed_initialization()
    model = build(job.params["model"], len(data.classes), data.side, data.channels)
    session.train(model, "dense")
    session.write_metrics(model)
    job.write_provenance(job.output.provenance, seconds={"training": session.seconds})
