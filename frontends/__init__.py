"""Files and frameworks to IR. A frontend recognises its input by content, never by suffix.

    graph = load("model.onnx")

A frontend is one module with a :class:`Frontend`; it registers itself here, or from outside by :func:`register`, to
which an entry point of the group ``graphs.frontends`` leads.
"""

from .registry import Frontend, FrontendError, frontends, load, load_entry_points, register

__all__ = ["Frontend", "FrontendError", "frontends", "load", "load_entry_points", "register"]
