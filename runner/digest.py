"""Canonical JSON and the digest over it: one way to name a value everywhere."""

from __future__ import annotations

import hashlib
import json
from io import BufferedReader
from typing import Any

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_json(value: Any) -> str:
    """`value` as JSON with sorted keys and no white space. Raises ValueError for nan and inf, TypeError for non-JSON."""
    return _encode(value)


def is_utf8(text: str) -> bool:
    """Can it be written down? Half of a surrogate pair, as JSON and odd file names give it, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def digest_bytes(data: bytes) -> str:
    """32 hex digits (BLAKE2b, 128 bits) that name `data`."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def digest_file(file: BufferedReader) -> str:
    """`digest_bytes` of what is left of `file`, without holding it in memory. Raises OSError."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def digest(value: Any) -> str:
    """The digest of a JSON value, whatever the order of its keys."""
    return digest_bytes(canonical_json(value).encode())
