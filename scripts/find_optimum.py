"""Find the realizable network within the budget whose predicted accuracy is highest."""

from prune3d.job import Job

with Job(snakemake) as job:
    from prune3d.files import read_json, write_json
    from prune3d.policies import LatticeOptions, optimal_target
    from prune3d.samples import read_samples
    from prune3d.structure import Structure
    from prune3d.surrogate import chosen

    target = optimal_target(
        chosen(read_json(job.input.predictor)),
        read_samples(job.input.samples),
        Structure.from_dict(read_json(job.input.structure)),
        read_json(job.input.blocks)["removal_order"],
        job.params["macs"],
        job.read(LatticeOptions),
    )
    write_json(job.output[0], target)
    job.say(
        target.get("unreachable")
        or "prune to depth {depth:.3f}, width {width:.3f}, "
        "resolution {resolution:.3f}: {macs_ratio:.2%} of the MACs".format(**target)
    )
