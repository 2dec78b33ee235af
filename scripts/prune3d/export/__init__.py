"""Files with which a network leaves the library: ONNX."""

from __future__ import annotations

from prune3d.export.onnx_file import ExportError, export, export_unreachable, why_not_onnx

__all__ = ["ExportError", "export", "export_unreachable", "why_not_onnx"]
