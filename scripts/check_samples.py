"""Check that a model that is not registered can be pruned to the samples, before it is trained."""

from prune3d.job import Job

with Job(snakemake) as job:
    from prune3d.config import check_sampling
    from prune3d.files import read_json, write_json
    from prune3d.prunable import Prunable
    from prune3d.structure import Structure

    structure = Structure.from_dict(read_json(job.input[0]))
    levels = {"depth": [], "width": [], "resolution": []}
    sampling = {"design": "list", **levels, **job.params}
    check_sampling(
        job.wildcards.experiment,
        {"sampling": sampling, "predictor": job.params, "pruning": job.params},
        Prunable.of_structure(structure),
    )
    write_json(
        job.output[0],
        {
            "blocks": structure.blocks,
            "removable": list(structure.removable),
            "channel_groups": len(structure.groups),
            "sides": list(structure.sides),
        },
    )
