"""File systems that do not tell of changes made elsewhere: there we have to look again and again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

SILENT: Final = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "drvfs",
        "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2", "davfs",
    }
)  # fmt: skip
"""Network file systems, and folders of a host seen from a virtual machine. All of `fuse.*` belongs to them, too."""

MOUNTS: Final = Path("/proc/self/mountinfo")


def is_silent(kind: str) -> bool:
    """Is this the name of such a file system? `fuseblk` is a local disk."""
    return kind in SILENT or kind == "fuse" or kind.startswith("fuse.")


def kind_of(path: Path, mounts: Iterable[str]) -> str:
    """The name of the file system that a path without links lies in, by the lines of mountinfo; "" when they do not say."""
    best, kind = -1, ""
    for line in mounts:
        fields, _, rest = line.partition(" - ")
        words = fields.split(" ")
        if len(words) < 5 or not rest:
            continue
        place = Path(_unescaped(words[4]))
        depth = len(place.parts)
        if depth >= best and path.is_relative_to(place):  # of several on one place the last one is seen
            best, kind = depth, rest.split(" ")[0]
    return kind


def _unescaped(text: str) -> str:
    """mountinfo writes blanks and backslashes as `\\040`."""
    parts = text.split("\\")
    return parts[0] + "".join(
        chr(int(part[:3], 8)) + part[3:] if part[:3].isdigit() else f"\\{part}" for part in parts[1:]
    )


def must_look(env: Mapping[str, str]) -> bool:
    """Does the environment ask to look again and again? The variable is that of watchfiles, and of all that use it."""
    return env.get("WATCHFILES_FORCE_POLLING", "false").lower() not in ("", "false", "disable", "disabled")


def silent_kind(path: Path) -> str | None:
    """The name of the silent file system that `path` lies in; None = a change there is told."""
    try:
        mounts = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:  # no Linux
        return None
    kind = kind_of(path.resolve(), mounts)
    return kind if is_silent(kind) else None
