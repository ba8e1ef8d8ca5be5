"""Files and frameworks to IR. A frontend recognises its input by content, never by suffix.

    graph = load("model.onnx")

A frontend is one module with a :class:`Frontend`; it registers itself here, or from outside by :func:`register`.
"""

from .registry import Frontend, FrontendError, load, register

__all__ = ["Frontend", "FrontendError", "load", "register"]
