"""Read a data set and write its train, selection and test images."""

from prune3d.data.split import Fractions, prepare, save_split
from prune3d.job import Job

with Job(snakemake) as job:
    fractions = Fractions(job.params["test_fraction"], job.params["selection_fraction"])
    parts = prepare(job.params["name"], fractions, int(job.wildcards.seed))
    for name, data in parts.items():
        save_split(job.output[name], data, statistics_of=parts["train"])
    job.say(", ".join(f"{len(data.labels)} {name} images" for name, data in parts.items()))
