"""Choose what to prune to: the network that did best when it was tried, or the best predicted."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize.rerank import choose
    from prune3d.optimize.target_file import CANDIDATES, OPTIMUM, TRIALS
    from prune3d.sampling.metrics_file import METRICS

    target, trials = choose(
        OPTIMUM.read(job.input.predicted),
        CANDIDATES.read(job.input.candidates)["networks"],
        [METRICS.read(path) for path in job.input.first],
        [METRICS.read(path) for path in job.input.second],
    )
    TRIALS.write(job.output.trials, trials)
    OPTIMUM.write(job.output.optimum, target)
    if "unreachable" not in target:
        job.say(
            "prune to depth {depth:.3f}, width {width:.3f}, resolution {resolution:.3f}: "
            "{macs_ratio:.2%} of the MACs".format(**target)
        )
