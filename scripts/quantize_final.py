"""Write a final network in 8-bit integers, calibrated on training images."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.data.images import load_images
    from prune3d.export import export_unreachable
    from prune3d.export.int8 import CALIBRATED, quantize
    from prune3d.export.stored import inputs_of, why_no_network

    reason = why_no_network(job.input.onnx)
    if reason is None:
        some = load_images(job.input.train).subset(CALIBRATED, job.seed("calibration"))
        quantize(job.input.onnx, job.output[0], inputs_of(some, job.input.onnx))
    else:
        export_unreachable(job.output[0], reason)
