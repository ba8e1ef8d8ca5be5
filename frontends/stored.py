"""Element types as files store them: little-endian, in numpy's words."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir import DType

__all__ = ["LITTLE_ENDIAN"]

LITTLE_ENDIAN: Mapping[DType, str] = {
    DType.F64: "<f8",
    DType.F32: "<f4",
    DType.F16: "<f2",
    DType.I64: "<i8",
    DType.I32: "<i4",
    DType.I16: "<i2",
    DType.I8: "i1",
    DType.UI64: "<u8",
    DType.UI32: "<u4",
    DType.UI16: "<u2",
    DType.UI8: "u1",
    DType.BOOL: "?",
}
