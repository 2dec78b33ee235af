"""Prune to a network that may be the optimum, fine-tune it for a while, and judge it."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize.rerank import taken_by
    from prune3d.optimize.rounds import ROUNDS, RerankOptions
    from prune3d.optimize.target_file import CANDIDATES
    from prune3d.sampling.metrics_file import METRICS
    from prune3d.workflow.finals import prune_dense
    from prune3d.workflow.session import Session

    place, name = int(job.wildcards.place), job.wildcards.round
    proposed = CANDIDATES.read(job.input.candidates)
    first = [METRICS.read(path) for path in job.input.first] if name == ROUNDS[1] else None
    network = taken_by(place, proposed["networks"], first)
    session = Session(job, stage=f"{job.wildcards.budget}/{name}{place}")
    if network is None:
        reason = "fewer networks differ than may be tried"
        session.write_unreachable(reason)
        METRICS.write(job.output.metrics, {"unreachable": reason})
    else:
        model = prune_dense(job, {**network, "limits": proposed["limits"]})
        session.train(model, "final", RerankOptions(part=job.params["part"]).part_of(name))
        session.write_metrics(model)
    job.write_provenance(job.output.provenance, seconds=session.seconds)
