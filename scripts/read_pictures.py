"""Read every picture of a data set once, for all seeds."""

from prune3d.data.settings import DataSettings, GlyphSettings
from prune3d.data.split import read_checked
from prune3d.data.storage import save_source
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    source = read_checked(
        job.read(DataSettings, glyphs=GlyphSettings()),
        download=bool(job.resources.download),
        threads=job.threads,
    )
    save_source(job.output[0], source)
    parts = {"training": source.train, "test": source.test}
    counted = [f"{len(p.labels)} {name} pictures" for name, p in parts.items() if p is not None]
    job.say(f"{', '.join(counted)} of {len(source.classes)} classes")
