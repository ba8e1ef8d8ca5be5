"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["write_atomically"]

_NEW_FILE_MODE = 0o666


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write ``content`` (text as UTF-8) to ``path`` so that no reader and no failure ever sees a part of it.

    A link is followed, so that its target is replaced and not the link; what is no plain file (``/dev/null``, a pipe)
    is written straight.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    encoded = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    target = path.resolve()
    if target.exists() and not target.is_file():
        target.write_bytes(encoded)
        return
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:200]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(encoded)
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _mode(target: Path) -> int:
    """The permissions of the file replaced, else what the process's mask leaves a new one."""
    if target.exists():
        return target.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return _NEW_FILE_MODE & ~mask
