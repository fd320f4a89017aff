"""The parts of an answer as data, within the limit of an output."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st
from mcp.types import BlobResourceContents, EmbeddedResource, ImageContent, TextContent, TextResourceContents

from runner.executors.mcp_parts import parts_of


def image(size: int) -> ImageContent:
    return ImageContent(data=base64.b64encode(b"\xff" * size).decode(), mime_type="image/png")


def test_what_has_no_place_says_so_and_what_comes_after_it_may_still_have_one() -> None:
    small, large, text = image(10), image(9000), TextContent(text="words")
    kept = parts_of([large, text, small], 2000)
    assert kept[0] == {
        "type": "image",
        "mimeType": "image/png",
        "size": 9000,
        "dropped": "9000 bytes: over the limit of an output (limits.output_bytes)",
    }
    assert kept[1] == {"type": "text", "text": "words"}
    assert kept[2]["data"] == small.data and kept[2]["size"] == 10


def test_a_resource_of_text_is_dropped_like_one_of_bytes() -> None:
    text = TextResourceContents(uri="demo://t", text="é" * 5000)
    blob = BlobResourceContents(uri="demo://b", mime_type="x/y", blob=base64.b64encode(b"a" * 5000).decode())
    first, second = parts_of([EmbeddedResource(resource=text), EmbeddedResource(resource=blob)], 1000)
    assert (first["uri"], first["size"], "text" in first) == ("demo://t", 10_000, False)
    assert (second["uri"], second["mimeType"], second["size"], "data" in second) == ("demo://b", "x/y", 5000, False)
    assert "dropped" in first and "dropped" in second


@given(st.lists(st.integers(0, 3000), max_size=8), st.integers(2500, 9000))
def test_the_json_of_the_parts_is_within_the_limit(sizes: list[int], limit: int) -> None:
    kept = parts_of([image(size) for size in sizes], limit)
    assert [part["size"] for part in kept] == sizes
    assert len(json.dumps(kept)) <= limit
