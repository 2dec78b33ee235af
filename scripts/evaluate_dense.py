"""Judge the dense network on the test images, for the tables."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.data.images import load_images
    from prune3d.models.checkpoint import load
    from prune3d.sampling.metrics_file import TEST
    from prune3d.train.evaluate import evaluate

    device = job.device()
    model = load(job.input.model, device, job.params["own_network"])
    result = evaluate(model, load_images(job.input.test).with_batches_on(device))
    TEST.write(job.output[0], result)
