"""What else lies where a model is looked for, told by its first bytes, and the way out of each."""

from __future__ import annotations

__all__ = ["described"]

_EXPORT = "it holds weights without a graph; export the model, for example with optimum-cli or torch.onnx.export"
_UNPACK = "unpack it first"
_BEGINNINGS = (
    (b"version https://git-lfs", "a Git LFS pointer in place of the file", "fetch the file with: git lfs pull"),
    (b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (b"BZh", "compressed by bzip2", _UNPACK),
    (b"\xfd7zXZ\0", "compressed by xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by zstandard", _UNPACK),
    (b"GGUF", "a GGUF file", _EXPORT),
    (b"\x89HDF\r\n", "an HDF5 file, such as Keras writes", "convert it with tf2onnx or to TFLite"),
    (b"<!", "a web page or XML", "did a download fail?"),
    (b"<html", "a web page", "did a download fail?"),
    (b"<?xml", "an XML file", "name the ONNX file that it was made from"),
)


def described(head: bytes) -> tuple[str, str] | None:
    """Return what a file that is no model seems to be, and what to do about it; ``None`` if nothing is known of it."""
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 32:
        return "a safetensors file", _EXPORT
    return next(((what, way_out) for start, what, way_out in _BEGINNINGS if head.startswith(start)), None)
