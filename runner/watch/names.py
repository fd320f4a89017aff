"""Names of files that editors and other programs make for a moment: nothing ever runs because of them."""

from __future__ import annotations

import re

_TEMPORARY = re.compile(
    r"""
      \.\#.* | \#.*\# | .*~            # emacs: lock, auto-save, backup (vim's backup, too)
    | \..*\.sw[a-z]{1,2} | 4913        # vim: swap file, and the file that it tries a folder with
    | .*___jb_(?:tmp|old|bak)___       # JetBrains
    | flycheck_.* | .*_flymake\..*     # checkers inside emacs
    | \.goutputstream-.* | .*\.kate-swp
    | .*\.(?:tmp|temp|part|partial|crdownload|swp)
    | \.nfs[0-9a-f]+ | \.fuse_hidden.* # a file that is open and was removed, on such file systems
    | \.syncthing\..* | \.~lock\..*    # being synchronized; LibreOffice
    """,
    re.VERBOSE,
)


def is_temporary(name: str) -> bool:
    """Is this the name (without folders) of a swap file, backup or half of a download?"""
    return _TEMPORARY.fullmatch(name) is not None
