"""The limits that hold before anything looks at a file's data; each is named when hit, and config `limits` may change it."""

from typing import NamedTuple


class Limits(NamedTuple):
    """`file_bytes` a file; `depth` nested lists and maps; `aliases` a document; `nodes` values a file after aliases are expanded."""

    file_bytes: int = 1024 * 1024
    depth: int = 50
    aliases: int = 100
    nodes: int = 100_000
