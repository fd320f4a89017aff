"""What `explain` explains: keys of manifests and of config.yaml, verbs, rules, error classes, exit codes. Everything comes from the
tables that the program itself works by; only what has no table stands here in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from runner.api.schema_keys import STEPS, Key, keys, matching, parts
from runner.core.recover import CLASSES
from runner.diagnostics.rules import RULES, Rule
from runner.errors import UsageError
from runner.manifest.vocabulary import ERROR_CLASSES, VERBS, ErrorClass
from runner.spelling import did_you_mean
from runner.templating.words import FILTERS, REQUIRED, TESTS

Kind = Literal[
    "verb", "language", "filter", "key of a manifest", "key of config.yaml", "rule", "error class", "exit code"
]

MOST_MEANINGS = 4
"""A word may name many keys: this many of them are explained, the others listed."""

MEANINGS: Mapping[ErrorClass, str] = {
    "rate_limit": "Asked too often: HTTP 429, with or without retry-after.",
    "quota": "What may be spent is spent: 402, 429 insufficient_quota, an agent's usage limit.",
    "auth": "Not let in: 401, 403, not logged in.",
    "unavailable": "Nobody there: refused, no such host, 5xx, a server that does not start or connect.",
    "timeout": "A deadline was over: of the attempt, or without any progress.",
    "crash": "The other end died during the call, or a command was ended by a signal.",
    "context_overflow": "The prompt is longer than the model takes.",
    "bad_output": "An answer that is not what `returns` says, or no answer at all.",
    "check_failed": "A check of the step did not hold.",
    "tool_error": "The tool said that it failed, or a command exited with another code than 0.",
    "denied": "Forbidden: by the operator's policy, inside an agent, or by a person who rejected it.",
    "invalid": "The request itself is wrong: an unknown tool or argument, 400, 422, something that is not configured.",
    "cancelled": "A person or a signal ended it.",
}
_AGAIN = {
    "policy": "when `faults.retry.errors` names the class: another round, after a wait",
    "repair": "in a `repair` round, told what was wrong",
    "no": "no",
}
_NEXT = {
    "yes": "yes, at once; then `fallback` entries",
    "larger": "only to one with a larger context",
    "fallback": "only to `fallback` entries",
    "named": "only to `fallback` entries that name the class",
    "no": "no",
}
_CIRCUIT = {
    "cool": "rests until retry-after",
    "cool_long": "rests for hours",
    "disable": "is not used any more",
    "count": "counts a failure",
    "count_empty": "counts a failure when the answer was empty",
    "none": "is not touched",
}
EFFECTS: Mapping[str, str] = {
    "model": "none: free to repeat after a crash",
    "tool": "by the tool's annotations, else once: never repeated silently",
    "agent": "idempotent: repeated after an unknown outcome",
    "run": "once: never repeated silently",
    "set": "none", "wait": "none", "approve": "none", "call": "its own steps'", "fail": "none",
}  # fmt: skip


TEMPLATES = (
    "`{{ expr }}` in any text but keys, ids and the script of `run`. A text that is one whole expression keeps the value's type. There "
    "are paths, literals, operators, filters and tests; no calls, no statements, no methods of Python."
)
FILTER_TEXTS: Mapping[str, str] = {
    "default": "What stands in for a value that is absent (with `true`: for an empty one, too). All to its left is read tolerantly.",
    "join": "The items of a list as one text.",
    "length": "How many items a list, keys a map, characters a text has.",
    "first": "The first item.",
    "last": "The last item.",
    "list": "A list of the items, of the keys of a map, or of the characters of a text.",
    "map": "One attribute of every item: `map(attribute='name')`.",
    "select": "The items that pass a test; without one, those that are not empty.",
    "reject": "The items that `select` would leave out.",
    "selectattr": "The items whose attribute passes a test.",
    "rejectattr": "The items that `selectattr` would leave out.",
    "sort": "The items in order.",
    "unique": "The items, each once.",
    "sum": "The sum of the items.",
    "min": "The least item.",
    "max": "The greatest item.",
    "round": "A number with so many digits; method `common`, `ceil` or `floor`.",
    "int": "A whole number; text that is none fails, unless a default is given.",
    "float": "A number; text that is none fails, unless a default is given.",
    "string": "The value as text; lists and maps as JSON.",
    "lower": "In small letters.",
    "upper": "In capital letters.",
    "trim": "Without white space (or `chars`) at both ends.",
    "replace": "Every `old` as `new`.",
    "split": "The parts of a text as a list: at white space, or at `sep`. An empty text has none.",
    "truncate": "Cut to a length, at a word's end.",
    "tojson": "The value as JSON.",
}


@dataclass(frozen=True, slots=True)
class Topic:
    """One explanation. `rows`: (what, how it is); `keys`: (key, documentation) of what stands below; `examples`: (label, YAML)."""

    name: str
    kind: Kind
    text: str
    rows: tuple[tuple[str, str], ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    see: str = ""


def explain(word: str, exit_codes: Mapping[int, str]) -> list[Topic]:
    """Everything that `word` names. `exit_codes`: what each means. Raises UsageError, with the nearest name when there is one."""
    word = word.strip().strip("`")
    bare = re.sub(r"^(?:error|warning|note)\[(.*)\]$", r"\1", word)
    found = [*_verb(word), *_templates(word), *_keys(word), *_rule(bare), *_class(word), *_exit(word, exit_codes)]
    if found:
        return found
    near = did_you_mean(word.rpartition(".")[2], _names())
    raise UsageError(
        f"nothing is called {word!r}" + (f"; {near.replace('`', chr(39))}" if near else ""),
        hint="`runner explain` lists what there is",
    )


def _names() -> list[str]:
    places = dict.fromkeys(key.place[-1] for document in ("manifest", "config") for key in keys(document))
    return [*VERBS, "templates", *FILTERS, *places, *RULES, *ERROR_CLASSES]


def listing(exit_codes: Mapping[int, str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """What there is to explain: (heading, [(name, one line)])."""
    manifest = [(key.path, key.text) for key in keys("manifest") if len(key.place) == 1]
    steps = [
        (key.place[-1], key.text) for key in keys("manifest") if key.place[:2] == ("steps", "*") and len(key.place) == 3
    ]
    config = [(key.path, key.text) for key in keys("config") if len(key.place) == 1]
    return [
        ("verbs of a step", [(verb, _doc(step.__doc__)) for verb, step in STEPS.items()]),
        ("keys of a manifest", manifest),
        ("keys of a step", [(name, text) for name, text in steps if name not in VERBS]),
        ("filters of templates", [(_call(name), FILTER_TEXTS[name]) for name in FILTERS]),
        ("keys of config.yaml", config),
        ("error classes", [(name, MEANINGS[name]) for name in ERROR_CLASSES]),
        ("exit codes", [(str(code), text) for code, text in exit_codes.items()]),
        ("rules", [(rule.id, rule.title) for rule in RULES.values()]),
    ]


# ---------------------------------------------------------------- templates


def _templates(word: str) -> Iterator[Topic]:
    if word in ("templates", "template", "filters", "filter", "tests", "{{ }}"):
        rows = (("filters", ", ".join(FILTERS)), ("tests", ", ".join(TESTS)))
        yield Topic("templates", "language", TEMPLATES, rows, see="docs/manifest-reference.md")
    if (name := word.partition("(")[0]) in FILTERS:
        yield Topic(_call(name), "filter", FILTER_TEXTS[name], see="docs/manifest-reference.md")


def _call(name: str) -> str:
    """A filter as it is written: what may be left out is marked."""
    needed = REQUIRED.get(name, 0)
    given = [arg if at < needed else f"{arg}?" for at, arg in enumerate(FILTERS[name])]
    return f"{name}({', '.join(given)})" if given else name


# ---------------------------------------------------------------- keys and verbs


def _verb(word: str) -> Iterator[Topic]:
    step = STEPS.get(word)
    if step is not None:
        takes = sorted({field.alias or name for name, field in step.model_fields.items()} - {word})
        rows = (("effects", EFFECTS[word]), ("takes", ", ".join(takes)))
        yield Topic(word, "verb", _doc(step.__doc__), rows, see="docs/manifest-reference.md")


def _keys(word: str) -> Iterator[Topic]:
    """Keys with this name or path. What means the same in several places is explained once."""
    words = parts(word)
    if not words:
        return
    hits = _deepest(words)
    groups: dict[object, list[Key]] = {}
    for key in hits:
        groups.setdefault((key.document, *key.meaning), []).append(key)
    several = list(groups.values())
    for group in several[:MOST_MEANINGS]:
        yield _key(group)
    rest = [key.path for group in several[MOST_MEANINGS:] for key in group[:1]]
    if rest:
        yield Topic(word, "key of a manifest", f"Also a key with other meanings: explain {', '.join(rest)}.")


def _deepest(words: list[str]) -> list[Key]:
    """The keys that a whole path means; where an author's own words begin below a key, that key."""
    known = (*keys("manifest"), *keys("config"))
    hits = matching(words, known)
    while not hits and len(words) > 2:
        words = words[:-1]
        hits = [key for key in matching(words, known) if len(key.place) == len(words)]
    return hits


def _key(group: list[Key]) -> Topic:
    key = group[0]
    rows = [("holds", key.holds)]
    if key.default:
        rows.append(("default", key.default))
    if key.required:
        rows.append(("", "required"))
    if key.verbs:
        rows.append(("steps", ", ".join(key.verbs)))
    if len(group) > 1:
        also = [other.path for other in group[1:]]
        rows.append(("also", ", ".join(also[:4]) + (f" and {len(also) - 4} more" if len(also) > 4 else "")))
    manifest = key.document == "manifest"
    page = "docs/manifest-reference.md" if manifest else "docs/config-reference.md"
    return Topic(
        key.path, "key of a manifest" if manifest else "key of config.yaml", key.text, tuple(rows), key.keys, see=page
    )


def _doc(text: str | None) -> str:
    return " ".join((text or "").split())


# ---------------------------------------------------------------- rules, classes, codes


def _rule(word: str) -> Iterator[Topic]:
    rule = RULES.get(word)
    if rule is not None:
        yield rule_topic(rule)


def rule_topic(rule: Rule) -> Topic:
    """A rule with its examples."""
    rows: list[tuple[str, str]] = [("severity", rule.severity)]
    if rule.severity == "warning":
        rows.append(("silence", f"`# runner: ignore[{rule.id}]` on its line"))
    examples = (("wrong", rule.example_bad), ("right", rule.example_good))
    title = f"{rule.title[:1].upper()}{rule.title[1:]}."
    return Topic(rule.id, "rule", f"{title} {rule.explanation}", tuple(rows), examples=examples, see="docs/rules.md")


def _class(word: str) -> Iterator[Topic]:
    for name in ERROR_CLASSES:
        if name == word:
            rule = CLASSES[name]
            rows = (
                ("tried again", _AGAIN[rule.again]),
                ("passed on", _NEXT[rule.next]),
                ("its endpoint", _CIRCUIT[rule.circuit]),
            )
            note = " A step with `effects: once` is repeated or passed on only where its author consents."
            yield Topic(name, "error class", MEANINGS[name] + note, rows, see="docs/manifest-reference.md")


def _exit(word: str, exit_codes: Mapping[int, str]) -> Iterator[Topic]:
    number = word.removeprefix("exit").removeprefix(" code").removeprefix("-").strip()
    if number.isascii() and number.isdigit() and len(number) < 10 and int(number) in exit_codes:
        text = exit_codes[int(number)]
        yield Topic(f"exit code {number}", "exit code", f"{text[:1].upper()}{text[1:]}.", see="docs/cli.md")
