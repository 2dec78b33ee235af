"""Read a data set, check its images and write its train, selection and test part."""

from dataclasses import replace

from prune3d.data.settings import DataSettings, GlyphSettings
from prune3d.data.split import Fractions, prepare
from prune3d.data.storage import save_part
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    splits = prepare(
        replace(job.read(DataSettings), glyphs=job.read(GlyphSettings)),
        Fractions(job.params["test_fraction"], job.params["selection_fraction"]),
        int(job.wildcards.seed),
        download=bool(job.resources.download),
        threads=job.threads,
    )
    for name, part in splits.parts.items():
        save_part(job.output[name], part, splits.about)
    job.say(", ".join(f"{len(part.labels)} {name} images" for name, part in splits.parts.items()))
