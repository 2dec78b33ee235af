"""Files with which a network leaves the library: ONNX.

The names below are imported when first used, since cards are written without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prune3d.export.onnx_file import ExportError, export, export_unreachable, why_not_onnx

__all__ = ["ExportError", "export", "export_unreachable", "why_not_onnx"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from prune3d.export import onnx_file

        return getattr(onnx_file, name)
    raise AttributeError(f"module 'prune3d.export' has no attribute '{name}'")
