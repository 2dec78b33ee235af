"""Prune a part of the way to a policy's target, and fine-tune for a part of the final epochs."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize.registry import target_of
    from prune3d.optimize.target_file import read_target
    from prune3d.workflow.finals import prune_on_the_way
    from prune3d.workflow.session import Session
    from prune3d.workflow.trained_part import part_of_step

    policy, step = job.wildcards.policy, int(job.wildcards.step)
    target = read_target(job.input.target, target_of(policy))
    # One stage, which is billed to the final network; each step in an order of its own.
    session = Session(job, f"{job.wildcards.budget}/{policy}", f"step {step}")
    if target.get("unreachable"):
        session.write_unreachable(target["unreachable"])
    else:
        model = prune_on_the_way(job, target, step / job.params["steps"])
        session.train(model, "final", part_of_step(job.params, step))
    before = job.input.provenance
    job.write_provenance(
        job.output.provenance,
        seconds=session.seconds,
        earlier={"step_final": before} if before else None,
    )
