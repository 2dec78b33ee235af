"""Read a data set, check its images and write its train, selection and test part."""

from prune3d.data.settings import DataSettings, GlyphSettings
from prune3d.data.split import Fractions, read_checked, split
from prune3d.data.storage import load_source, save_part
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    settings = job.read(DataSettings, glyphs=job.read(GlyphSettings))
    pictures = job.optional_input("pictures")
    source = (
        load_source(pictures)
        if pictures
        else read_checked(settings, download=bool(job.resources.download))
    )
    splits = split(
        source,
        settings,
        Fractions(job.params["test_fraction"], job.params["selection_fraction"]),
        int(job.wildcards.seed),
        threads=job.threads,
    )
    for name, part in splits.parts.items():
        save_part(job.output[name], part, splits.about.rounded())
    job.say(", ".join(f"{len(part.labels)} {name} images" for name, part in splits.parts.items()))
