"""Files with which a network leaves the library: ONNX."""

from __future__ import annotations

from prune3d.export.onnx_file import export, export_unreachable

__all__ = ["export", "export_unreachable"]
