"""MLIR string literals: quotes, backslashes and what cannot be printed are escaped, the last as hexadecimal bytes."""

from __future__ import annotations

import re

__all__ = ["STRING_LITERAL", "quote", "unquote"]

STRING_LITERAL = r'"(?:[^"\\\n]|\\(?:[0-9A-Fa-f]{2}|["\\nt]))*"'
"""Regular expression of a literal."""

_ESCAPE = re.compile(rb'\\([0-9A-Fa-f]{2}|["\\nt])')
_NAMED = {b"n": b"\n", b"t": b"\t", b'"': b'"', b"\\": b"\\"}


def quote(text: str) -> str:
    """Return ``text`` as a literal."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_escaped(character) for character in text) + '"'


def unquote(literal: str) -> str:
    """Return the text of a literal.

    Raises:
        UnicodeDecodeError: its bytes are not UTF-8 (lone surrogates are let through).
    """
    inner = literal[1:-1]
    return inner if "\\" not in inner else _ESCAPE.sub(_unescaped, inner.encode()).decode("utf-8", "surrogatepass")


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _unescaped(match: re.Match[bytes]) -> bytes:
    escape = match.group(1)
    return _NAMED[escape] if escape in _NAMED else bytes.fromhex(escape.decode())
