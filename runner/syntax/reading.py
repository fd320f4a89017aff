"""From bytes to documents: the one boundary that catches what the YAML parser raises."""

from __future__ import annotations

from yaml import YAMLError

from runner.diagnostics.model import Diagnostic
from runner.diagnostics.render import path_text
from runner.diagnostics.rules import RULES
from runner.syntax.compose import Composer, Stop
from runner.syntax.document import Document
from runner.syntax.limits import Limits
from runner.syntax.nodes import Mistake
from runner.syntax.placing import in_order
from runner.syntax.text import Text, decode

# Reading again behind a mistake that can be bridged costs a parse each time.
_MOST_BRIDGES = 20
_LARGEST_BRIDGED = 64 * 1024


def read(data: bytes, file: str, limits: Limits = Limits()) -> tuple[list[Document], list[Diagnostic]]:  # noqa: B008
    """The documents of a file, and every mistake found on the way; `file` is the name to show. Never raises on any bytes.

    Documents that could be read are given even when something else in the file is wrong. Nothing is a warning only because the
    file may be none of ours: see `looks_like_manifest`. All mistakes, each once: `arrange` says which are shown.
    """
    text = decode(data, file, limits)
    if not isinstance(text, Text):
        return [], text
    composer, mistakes = _compose(text, limits)
    documents = [Document(text, root) for root in composer.roots]
    return documents, in_order(_diagnostic(text, mistake) for mistake in mistakes)


def _compose(text: Text, limits: Limits) -> tuple[Composer, list[Mistake]]:
    """Composes; where a value should have been quoted, reads on as if it were, to find the mistakes behind it."""
    content = text.content
    cuts: list[Mistake] = []
    while True:
        composer = Composer(Text(text.file, content), limits, frozenset(cut.start for cut in cuts))
        try:
            composer.run()
        except Stop:
            break
        except (YAMLError, ValueError, RecursionError, AssertionError) as error:
            from runner.syntax.wording import explain  # for texts that are no YAML

            cut, value = explain(text, error, composer.opened())
            cuts.append(cut._replace(loc=composer.loc()))
            if value is None or len(cuts) > _MOST_BRIDGES or len(content) > _LARGEST_BRIDGED:
                break
            bridged = _bridge(content, *value)
            if bridged == content:
                break
            content = bridged
        else:
            break
    return composer, cuts + composer.mistakes


def _bridge(content: str, start: int, end: int) -> str:
    """The same text, of the same length, with a quoted filler in place of a value."""
    return content[:start] + '"' + "x" * (end - start - 2) + '"' + content[end:] if end - start >= 2 else content


def _diagnostic(text: Text, mistake: Mistake) -> Diagnostic:
    notes = tuple((text.span(start, end), message) for start, end, message in mistake.notes)
    span = text.span(mistake.start, min(mistake.end, len(text.content)))
    severity = RULES[mistake.rule].severity
    return Diagnostic(
        text.file, span, severity, mistake.rule, path_text(mistake.loc), mistake.message, mistake.fix, notes
    )
