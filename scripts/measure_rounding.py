"""Measure which multiples of channels make the network fast on this device."""

from prune3d.data.storage import describe
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.costs.rounding_file import ROUNDING
    from prune3d.models import build
    from prune3d.pruning.dense import keep_layers
    from prune3d.pruning.rounding import choose_multiple, measure_multiples
    from prune3d.pruning.timing import LatencyOptions, where_measured

    options = job.read(LatencyOptions)
    device = job.device(only_cpu="cpu" in (job.params["device"], options.runs_on))
    data = describe(job.input.train)
    model = build(job.params["model"], len(data.classes), data.side, data.channels).to(device)
    keep_layers(model, job.params["keep"] or ())
    rows = measure_multiples(model, options, job.say)
    chosen = choose_multiple(rows)
    known = where_measured(options, device)
    ROUNDING.write(job.output[0], {"round_to": chosen, "measured": rows, **known})
    job.say(f"channels are kept in multiples of {chosen}")
