"""Vary one choice of the predictor or of its samples."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_csv, write_text
    from prune3d.optimize.predictor_file import read_predictor
    from prune3d.report.ablation_tables import FITS
    from prune3d.report.ablations import readable
    from prune3d.report.figures import Style, draw_ablation
    from prune3d.report.predictor_ablation import SUMMARY, Choices, ablate, summarize
    from prune3d.sampling.table import read_holdout, read_samples

    choices, style = job.read(Choices), job.read(Style)
    rows = []
    for seed, samples, holdout, predictor in zip(
        job.params["seeds"],
        job.input.samples,
        job.input.holdout,
        job.input.predictor,
        strict=True,
    ):
        fitted = read_samples(samples)
        held = read_holdout(holdout, fitted)
        left_out = read_predictor(predictor)["left_out"]
        rows += ablate(job.wildcards.ablation, fitted, held, seed, choices, left_out)
    summary = summarize(rows)
    FITS.write(job.output.rows, rows)
    write_csv(job.output.csv, summary, SUMMARY)
    write_text(job.output.md, readable(summary))
    style.save(draw_ablation(summary, style), job.output)
