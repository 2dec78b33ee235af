"""Choose what a rival policy prunes to."""

from prune3d.job import Job

with Job(snakemake) as job:
    from prune3d.files import read_json, write_json
    from prune3d.policies import LatticeOptions, rival_target
    from prune3d.structure import Structure

    target = rival_target(
        job.wildcards.policy,
        Structure.from_dict(read_json(job.input.structure)),
        read_json(job.input.blocks)["removal_order"] if job.input.get("blocks") else [],
        job.params["macs"],
        job.read(LatticeOptions),
    )
    write_json(job.output[0], target)
    if "unreachable" in target:
        job.say(target["unreachable"])
