"""Why a text is not YAML, in words that help: the parser's own message is the key, the line at its place tells the usual reasons apart."""

import re
from typing import Any, NamedTuple

from runner.syntax.nodes import Mistake
from runner.syntax.scalars import quoted
from runner.syntax.text import Text

_TOKEN = re.compile(r"\w+|\S")
_TABS = re.compile(r" *(\t[ \t]*)")
_TEMPLATE = re.compile(r"(?:^\s*|- +|:\s+|,\s*|[\[{]\s*)(\{\{)")
_TEMPLATE_END = re.compile(r".*?\}\}+")
# Key and value of a line in block style: what stands in it up to a comment is what its author meant as the value.
_ENTRY = re.compile(r"\s*(?:- +)*(?P<key>[^\s'\"\[\]{},#&*!|>%@`:-][^:]*?)\s*:[ \t]+(?P<value>\S.*?)\s*(?:\s#.*)?$")
_ITEM = re.compile(r"\s*(?:- +)+(?P<value>\S.*?)\s*(?:\s#.*)?$")
_EXPRESSION_KEYS = frozenset({"when", "expr"})
_FLOW_EXPRESSION = re.compile(r"[{,]\s*(?:when|expr)\s*:\s")
_FLOW_WORD = re.compile(r"[^\s,\[\]{}]+")
_LONGEST_FIX = 120
_LONGEST_LINE = 2000
_CUT = (
    "mapping values are not allowed",
    "did not find expected key",
    "did not find expected comment or line break",
    "found character that cannot start any token",
)
_INDICATORS = ("found character that cannot start any token", "did not find expected alphabetic or numeric character")


class Wording(NamedTuple):
    """Parser's words, where to point (`problem` or `context`), and ours."""

    problem: str
    at: str
    message: str
    fix: str | None


_WORDINGS = (
    Wording(
        "mapping values are not allowed",
        "problem",
        "a `:` that cannot stand here",
        "quote the value, or give the key a line of its own",
    ),
    Wording(
        "block sequence entries are not allowed",
        "problem",
        "a list cannot begin here",
        "put the `- ` on a line of its own",
    ),
    Wording(
        "did not find expected key",
        "problem",
        "this does not belong to the map around it",
        "check the indentation and quotes",
    ),
    Wording(
        "did not find expected '-' indicator",
        "problem",
        "a line without `- ` in a list",
        "begin it with `- `, or indent it less",
    ),
    Wording(
        "did not find expected ',' or ']'", "problem", "expected `,` or `]` here", "close the list, or quote the value"
    ),
    Wording(
        "did not find expected ',' or '}'", "problem", "expected `,` or `}` here", "close the map, or quote the value"
    ),
    Wording("found unexpected end of stream", "context", "the quote is never closed", "add the closing quote"),
    Wording(
        "found unexpected document indicator",
        "context",
        "the quote is not closed before the document ends",
        "add the closing quote",
    ),
    Wording(
        "could not find expected ':'",
        "context",
        "a key without `:`",
        "write `key: value`, or indent what continues the line above",
    ),
    Wording("did not find expected alphabetic", "context", "`*` and `&` mean aliases and anchors", "quote the value"),
    Wording(
        "found character that cannot start any token",
        "problem",
        "no value can begin with this character",
        "quote the value",
    ),
    Wording(
        "found unknown escape character",
        "problem",
        "no such escape in double quotes",
        "use single quotes, or write `\\\\`",
    ),
    Wording(
        "did not find expected hexdecimal number",
        "problem",
        "an escape without its hexadecimal digits",
        "use single quotes",
    ),
    Wording(
        "did not find expected comment or line break",
        "problem",
        "text after `|` or `>`",
        "begin the block on the next line",
    ),
    Wording(
        "did not find expected node content",
        "problem",
        "a value is missing here",
        "close the bracket, or write the value",
    ),
    Wording(
        "did not find expected <document start>",
        "problem",
        "text that belongs to no document",
        "begin a document with `---`",
    ),
    Wording("found a tab character", "problem", "a tab used as indentation", "use spaces"),
)
_CONTEXTS = {
    "while parsing a flow mapping": "the map begins here",
    "while parsing a flow sequence": "the list begins here",
    "while parsing a block mapping": "the map begins here",
    "while parsing a block collection": "the list begins here",
    "while parsing a quoted scalar": "the text begins here",
}


def explain(text: Text, error: Any, opened: int | None) -> tuple[Mistake, tuple[int, int] | None]:
    """The mistake behind a parser's error, and the stretch that was meant as one value when that is known.

    `error` is PyYAML's: `problem`, `problem_mark`, `context`, `context_mark`, each of which may be missing. `opened`: where the
    innermost open bracket is.
    """
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "the text is not YAML")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    at = min(mark.index if mark is not None else getattr(error, "position", 0), len(text.content))
    context_mark = getattr(error, "context_mark", None)
    context = min(context_mark.index, len(text.content)) if context_mark is not None else at
    # The patterns below may backtrack: a line longer than anybody writes is not worth their time.
    offsets = [offset for offset in dict.fromkeys((at, context)) if len(_line(text, offset)[1]) <= _LONGEST_LINE]
    for offset in offsets:
        found = _tab(text, offset) or _template(text, offset) or _expression(text, offset, problem)
        if found:
            return found
    if problem.startswith(_INDICATORS) and offsets:
        return _indicator(text, context)
    if opened is not None and at >= len(text.content.rstrip()):
        bracket = text.content[opened]
        return Mistake(
            "yaml-syntax", opened, opened + 1, (), f"the `{bracket}` is never closed", "close it, or quote the value"
        ), None
    return _worded(text, problem, str(getattr(error, "context", None)), at, context), None


def _indicator(text: Text, at: int) -> tuple[Mistake, tuple[int, int] | None]:
    """A value that begins with a character that means something to YAML, such as a glob with `*`."""
    start, line = _line(text, at)
    match = _FLOW_WORD.match(line, at - start)
    end = start + (match.end() if match else at - start + 1)
    word = text.content[at:end]
    message = f"YAML keeps `{word[:1]}` at the start of a value for itself"
    fix = f"quote the value: {quoted(word)}" if len(word) < _LONGEST_FIX else "quote the value"
    return Mistake("yaml-syntax", at, end, (), message, fix), (at, end)


def _tab(text: Text, at: int) -> tuple[Mistake, None] | None:
    start, line = _line(text, at)
    match = _TABS.match(line)
    if match is None:
        return None
    begin, end = match.span(1)
    return Mistake("yaml-tab", start + begin, start + end, (), "a tab used as indentation", "use spaces"), None


def _template(text: Text, at: int) -> tuple[Mistake, tuple[int, int]] | None:
    start, line = _line(text, at)
    entry = _ENTRY.match(line) or _ITEM.match(line)
    # In a block entry only the very start of the value counts, unless the value is in flow style.
    only = (
        entry.start("value")
        if entry is not None and (entry["value"][0] not in "[{" or entry["value"].startswith("{{"))
        else None
    )
    for match in _TEMPLATE.finditer(line):
        begin = match.start(1)
        before = line[:begin]
        if start + begin > at or before.count('"') % 2 or before.count("'") % 2 or only not in (None, begin):
            continue
        end = _value_end(line, begin)
        fix = f"quote the template: {quoted(line[begin:end])}" if end - begin < _LONGEST_FIX else "quote the template"
        message = "a value that starts with `{{` needs quotes"
        return Mistake("quote-template", start + begin, start + end, (), message, fix), (start + begin, start + end)
    return None


def _value_end(line: str, begin: int) -> int:
    """Where an unquoted template's value ends: with the line in block style, behind `}}` in flow style."""
    entry = _ENTRY.match(line) or _ITEM.match(line)
    if entry is not None and entry.start("value") == begin:
        return entry.end("value")
    end = _TEMPLATE_END.match(line, begin)
    # `{a: {{ x }}}`: the last brace belongs to the map.
    return min(end.end(), line.index("}}", begin) + 2) if end else len(line.rstrip())


def _expression(text: Text, at: int, problem: str) -> tuple[Mistake, tuple[int, int] | None] | None:
    """A value in block style that YAML cut into pieces, foremost a bare expression."""
    start, line = _line(text, at)
    if not problem.startswith(_CUT):
        return _flow_expression(start, line, at)
    entry = _ENTRY.match(line)
    if entry is None or start + entry.start("value") > at:
        return _flow_expression(start, line, at)
    value = entry["value"]
    expression = entry["key"] in _EXPRESSION_KEYS
    if value[0] in "|>" or (value[0] in "[{" and not expression):
        return _flow_expression(start, line, at)
    begin, end = start + entry.start("value"), start + entry.end("value")
    rule = "quote-expression" if expression else "yaml-syntax"
    what = "expression" if expression else "value"
    fix = f"quote the {what}: {quoted(value)}" if len(value) < _LONGEST_FIX else f"quote the {what}"
    return Mistake(rule, begin, end, (), f"YAML cuts this {what} into pieces", fix), (begin, end)


def _flow_expression(start: int, line: str, at: int) -> tuple[Mistake, None] | None:
    for match in _FLOW_EXPRESSION.finditer(line):
        if start + match.end() <= at:
            end = _token_end(line, at - start)
            return Mistake(
                "quote-expression", at, start + end, (), "YAML cuts this expression into pieces", "quote the expression"
            ), None
    return None


def _worded(text: Text, problem: str, context: str, at: int, context_at: int) -> Mistake:
    refused = _refused(problem, context)
    if refused is not None:
        start, line = _line(text, at)
        return Mistake(
            refused,
            start,
            start + max(1, len(line)),
            (),
            f"{refused.removeprefix('yaml-')}s are not allowed",
            "remove it",
        )
    wording = next((entry for entry in _WORDINGS if problem.startswith(entry.problem)), None)
    if wording is None:
        wording = Wording(problem, "problem", problem, None)
    place = context_at if wording.at == "context" else at
    start, line = _line(text, place)
    end = start + _token_end(line, place - start)
    begins = _CONTEXTS.get(context)
    notes = ((context_at, context_at + 1, begins),) if begins and context_at != place else ()
    return Mistake(_rule(problem), place, max(end, place + 1), (), wording.message, wording.fix, notes)


def _refused(problem: str, context: str) -> str | None:
    """Directives and tags that are wrong in themselves are not even worth explaining."""
    if "directive" in context or "directive" in problem or "YAML document" in problem:
        return "yaml-directive"
    return "yaml-tag" if " tag" in context or " tag" in problem else None


def _rule(problem: str) -> str:
    return "yaml-character" if "Unicode character" in problem or "control characters" in problem else "yaml-syntax"


def _token_end(line: str, begin: int) -> int:
    match = _TOKEN.match(line, begin)
    return match.end() if match else begin + 1


def _line(text: Text, offset: int) -> tuple[int, str]:
    number, column = text.position(offset)
    return offset - column + 1, text.line(number)
