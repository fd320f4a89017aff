"""Names of files as other programs want them: relative to the root of the checkout, with forward slashes."""

from __future__ import annotations

from pathlib import PurePosixPath
from posixpath import isabs, join, normpath
from urllib.parse import quote


def relative_name(file: str, root: str, here: str) -> str:
    """`file` relative to `root` (an absolute path) when it lies inside; else as it was given. A relative name counts from `here`."""
    name = normpath(file if isabs(file) else join(here, file))
    path, base = PurePosixPath(name), PurePosixPath(normpath(root))
    return str(path.relative_to(base)) if path.is_relative_to(base) else file


def uri(name: str) -> str:
    """A file's name as a URI reference; bytes that are no text keep their value."""
    return quote(name.encode("utf-8", "surrogateescape"), safe="/~!$&'()*+,;=@")
