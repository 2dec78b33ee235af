"""Choose what a rival policy prunes to."""

from prune3d.job import Job

with Job(snakemake) as job:
    from prune3d.files import read_json, write_json
    from prune3d.latency import read_latencies
    from prune3d.optimize import Budget
    from prune3d.policies import LatticeOptions, enumerate_candidates, rival_target
    from prune3d.structure import Structure

    candidates = enumerate_candidates(
        Structure.from_dict(read_json(job.input.structure)),
        read_json(job.input.blocks)["removal_order"] if job.input.get("blocks") else [],
        job.read(LatticeOptions),
        read_latencies(job.input.latency) if job.input.get("latency") else None,
    )
    target = rival_target(job.wildcards.policy, candidates, job.read(Budget))
    write_json(job.output[0], target)
    if "unreachable" in target:
        job.say(target["unreachable"])
