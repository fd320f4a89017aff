"""Text to data: YAML with places and limits, and problems in data back to places in text. Nothing here renders a template."""

from __future__ import annotations

from runner.syntax.document import Document, looks_like_manifest
from runner.syntax.limits import Limits
from runner.syntax.placing import arrange, place
from runner.syntax.reading import read

__all__ = ["Document", "Limits", "arrange", "looks_like_manifest", "place", "read"]
