"""Architectures of many families that PyTorch builds with random weights, small enough to export in seconds.

They are what claims about shapes and about counted work are checked on. Nothing is imported before an architecture is
built; those whose packages are not installed say so (:attr:`Architecture.missing`).
"""

from __future__ import annotations

from .architecture import Architecture, Input
from .language import LANGUAGE
from .plain import PLAIN
from .vision import VISION

__all__ = ["ARCHITECTURES", "Architecture", "Input"]

ARCHITECTURES = {architecture.name: architecture for architecture in (*PLAIN, *VISION, *LANGUAGE)}
"""All of them by name."""
