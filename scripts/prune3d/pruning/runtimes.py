"""What runs networks while they are timed. Needs nothing that planning would have to wait for."""

from __future__ import annotations

from prune3d.errors import UserError

TITLES = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT"}
RUNS_ON = {"onnxruntime": "cpu", "tensorrt": "cuda"}  # the others run on both
TENSORRT = "TensorrtExecutionProvider"


def check_runtime(runtime: str) -> None:
    """Refuse TensorRT where the installed ONNX Runtime has none.

    Raises
    ------
    UserError
        In one sentence. Where no ONNX Runtime is installed nothing is known, as in an environment
        that only plans.
    """
    if runtime != "tensorrt":
        return
    try:
        import onnxruntime
    except ImportError:
        return
    if TENSORRT not in onnxruntime.get_available_providers():
        raise UserError(
            f"the runtime is tensorrt, and onnxruntime {onnxruntime.__version__} has no provider "
            "for it; install onnxruntime-gpu in its place, or take torch or onnxruntime."
        )


def no_tensorrt() -> UserError:
    """Return the error that TensorRT is not usable on this machine."""
    return UserError(
        "the runtime is tensorrt, which ONNX Runtime cannot load here; install TensorRT's "
        "libraries and run it where there is a GPU, or take torch or onnxruntime."
    )
