"""Judge a final network in 8-bit integers on the test images, beside the same in floats."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from pathlib import Path

    from prune3d.data.images import load_images
    from prune3d.export.stored import accuracy_of, why_no_network
    from prune3d.pruning.timing import LatencyOptions, latencies_of_files
    from prune3d.report.int8 import INT8

    reason = why_no_network(job.input.int8)
    if reason is None:
        images = load_images(job.input.test)
        options = job.read(LatencyOptions, runtime="onnxruntime")
        paths = [Path(job.input.onnx), Path(job.input.int8)]
        measured = [
            {
                "top1": accuracy_of(path, images),
                "bytes": path.stat().st_size,
                "latency_ms": took,
            }
            for path, took in zip(paths, latencies_of_files(paths, options), strict=True)
        ]
        told = {"float": measured[0], "int8": measured[1], "images": len(images)}
        job.say("accuracy {float[top1]:.2%} in floats, {int8[top1]:.2%} in int8".format(**told))
    else:
        told = {"unreachable": reason}
    INT8.write(job.output[0], told)
