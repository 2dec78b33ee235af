"""Train the dense network, or take its weights from a file."""

from prune3d.data.storage import describe, holds_pixels
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.models import build
    from prune3d.models.meaning import Meaning, set_meaning
    from prune3d.models.weights import load_weights
    from prune3d.pruning.sparsity import Sparsity, channel_penalty, near_zero
    from prune3d.workflow.config import check_structure
    from prune3d.workflow.session import Session

    for structure in job.input.structure:
        check_structure(job, structure)
    data = describe(job.input.train)
    session = Session(job, stage="dense")
    session.seed_initialization()
    model = build(job.params["model"], len(data.classes), data.side, data.channels)
    stored = data.side if holds_pixels(job.input.train) else None
    set_meaning(model, Meaning(data.classes, data.mean, data.spread, data.crop, stored))
    weights = list(job.input.checkpoint)
    if weights:
        load_weights(model, weights[0])
        session.keep(model)
        sparsity = None
    else:
        sparsity = job.read(Sparsity, seed=job.seed("sparsity"))
        session.train(model, "dense", penalty=channel_penalty(model, sparsity))
    session.write_metrics(model, near_zero=near_zero(model, sparsity))
    job.write_provenance(job.output.provenance, seconds=session.seconds)
