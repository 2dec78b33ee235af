"""Put pruned and fine-tuned samples beside the same networks trained from scratch."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_json, write_text
    from prune3d.report.ablation_tables import SCRATCH
    from prune3d.report.ablations import scratch_readable
    from prune3d.report.figures import Style, draw_scratch
    from prune3d.report.predictor_ablation import compare_scratch, read_pairs

    style = job.read(Style)
    rows = read_pairs(job.input.pruned, job.input.scratch)
    SCRATCH.write(job.output.csv, rows)
    summary = compare_scratch(rows)
    write_json(job.output.summary, summary)
    write_text(job.output.md, scratch_readable(rows, summary))
    style.save(draw_scratch(rows, style), job.output)
    job.say("{networks} networks: Spearman {spearman}, bias {bias:+.4f}".format(**summary))
