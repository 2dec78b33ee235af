"""Judge a final network, once, on the test images."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.data.images import load_images
    from prune3d.models.checkpoint import load, unreachable_reason
    from prune3d.sampling.metrics_file import METRICS
    from prune3d.train.evaluate import evaluate
    from prune3d.workflow.session import network_metrics

    device = job.device()
    reason = unreachable_reason(job.input.model)
    if reason is None:
        model = load(job.input.model, device, job.params["own_network"])
        stage = f"{job.wildcards.budget}/{job.wildcards.policy}"
        metrics = {
            **network_metrics(model, stage),
            **{
                name: evaluate(model, load_images(path).with_batches_on(device))
                for name, path in (("selection", job.input.selection), ("test", job.input.test))
            },
        }
        job.say(f"test accuracy {100 * metrics['test']['top1']:.2f} %")
    else:
        metrics = {"unreachable": reason}
    METRICS.write(job.output.metrics, metrics)
    job.write_provenance(job.output.provenance, earlier={"finetune_final": job.input.provenance})
