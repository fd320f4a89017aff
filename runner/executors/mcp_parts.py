"""The parts of a tool's answer as plain data: text, images, audio, resources and links to them. Pure.

Not here: what becomes of an answer as a whole (`mcp_results`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.types import ContentBlock

_CONTENT = ("data", "text")
_MARK_BYTES = 100
"""What a mark in place of content takes, at most."""


def parts_of(content: Sequence[ContentBlock], limit: int) -> list[dict[str, Any]]:
    """The parts in their order, whose JSON is at most `limit` bytes as far as that is up to what may be dropped.

    {"type": "text", "text"} | {"type": "image" or "audio", "mimeType", "size", "data"} | {"type": "resource", "uri", "mimeType", "size",
    and "text" or "data"} | {"type": "resource_link", "uri", "name", "title", "description", "mimeType", "size"}; keys without a value are
    left out. `data` is base64, `size` the bytes it stands for. Where there is no place for the content of an image, a recording or a
    resource, the part says so in `dropped` instead; text of the tool itself is never dropped."""
    parts = [_part(block) for block in content]
    left = limit - sum(_bytes(_bare(part)) + _MARK_BYTES for part in parts)
    kept = []
    for part in parts:
        size = sum(_bytes(part[key]) for key in _CONTENT if key in part and part["type"] != "text")
        kept.append(part if size <= left else {**_bare(part), "dropped": _mark(part)})
        left -= size if size <= left else 0
    return kept


def _part(block: ContentBlock) -> dict[str, Any]:
    if block.type == "text":
        return {"type": "text", "text": block.text}
    if block.type == "image" or block.type == "audio":
        return {"type": block.type, "mimeType": block.mime_type, "size": _decoded(block.data), "data": block.data}
    if block.type == "resource_link":
        said = block.model_dump(mode="json", by_alias=True, exclude_none=True)
        keys = ("uri", "name", "title", "description", "mimeType", "size")
        return {"type": block.type} | {key: said[key] for key in keys if key in said}
    inner = block.resource.model_dump(mode="json", by_alias=True, exclude_none=True)
    about = {"type": block.type} | {key: inner[key] for key in ("uri", "mimeType") if key in inner}
    if "blob" in inner:
        return about | {"size": _decoded(inner["blob"]), "data": inner["blob"]}
    return about | {"size": len(inner["text"].encode("utf-8", "replace")), "text": inner["text"]}


def _bare(part: dict[str, Any]) -> dict[str, Any]:
    """The part without what may be dropped."""
    return part if part["type"] == "text" else {key: value for key, value in part.items() if key not in _CONTENT}


def _mark(part: dict[str, Any]) -> str:
    return f"{part['size']} bytes: over the limit of an output (limits.output_bytes)"


def _decoded(data: str) -> int:
    """How many bytes the base64 text `data` stands for."""
    return len(data) * 3 // 4 - data[-2:].count("=")


def _bytes(value: Any) -> int:
    """Of its JSON; ASCII text without anything to escape is not written for that: it may be large."""
    if isinstance(value, str) and value.isascii() and value.isalnum():
        return len(value) + 2
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
