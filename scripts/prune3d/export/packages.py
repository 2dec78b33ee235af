"""The packages that ONNX files need: the extra ``onnx`` of prune3d, which may not be installed."""

from __future__ import annotations

from importlib import import_module

from prune3d.errors import UserError

READING, WRITING = ("onnxruntime",), ("onnx", "onnxruntime")


def check_packages(names: tuple[str, ...] = WRITING) -> None:
    """Refuse to go on where a package is missing.

    Raises
    ------
    UserError
        With the name of the extra.
    """
    name = missing(names)
    if name is not None:
        raise UserError(f"ONNX files need {name}, which is not installed; install prune3d[onnx].")


def missing(names: tuple[str, ...] = WRITING) -> str | None:
    """Return the first package that cannot be imported, or None."""
    for name in names:
        try:
            import_module(name)
        except ImportError:
            return name
    return None
