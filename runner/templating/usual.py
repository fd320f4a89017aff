"""What the usual expressions name, without Jinja: paths with filters (`text | truncate(200)`), and conditions of such
(`not inputs.dry`, `output.files | length > 0 and inputs.env == 'prod'`). Most manifests hold nothing else, so reading them does not
import it. Only `compiled` computes them. What is not of this form, mistakes among it, is left to `grammar`, which knows the same of it.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from runner.templating.model import ROOTS, Parsed, Ref, TemplateError
from runner.templating.scan import Token, is_whole, scan, scan_expression
from runner.templating.words import FILTERS, KEYWORD_ONLY, REQUIRED, TEST_POSITION

_COMPARING: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_CONSTANTS: Final = frozenset({"none", "true", "false"})
_LONGEST: Final = 40
"""Words and signs of an expression. A node takes one at least, so nothing is nested deeper than `grammar` allows."""
_DIGITS: Final = 15
_END: Final = Token(-1, "end", "")


class _Unusual(Exception):
    """The expression is not of this form."""


class _Named(NamedTuple):
    ref: Ref
    compared: str | None


def template(text: str) -> Parsed | None:
    """A template without statements; None when it needs the full grammar. Never raises."""
    try:
        tokens = scan(text, blocks=False)
        starts = [at for at, token in enumerate(tokens) if token.kind == "variable_begin"]
        ends = [at for at, token in enumerate(tokens) if token.kind == "variable_end"]
        named = [one for start, end in zip(starts, ends, strict=True) for one in _read(tokens[start + 1 : end])]
    except (TemplateError, _Unusual):
        return None
    return _parsed(text, named, whole=is_whole(tokens))


def expression(text: str) -> Parsed | None:
    """A bare expression; None when it needs the full grammar. Never raises."""
    try:
        named = _read(scan_expression(text))
    except (TemplateError, _Unusual):
        return None
    return _parsed(text, named, whole=True)


def _parsed(text: str, named: Sequence[_Named], *, whole: bool) -> Parsed:
    compared = tuple((one.ref, one.compared) for one in named if one.compared is not None)
    return Parsed(text, literal=False, whole=whole, refs=tuple(one.ref for one in named), comparisons=compared)


def _read(tokens: Sequence[Token]) -> list[_Named]:
    if len(tokens) > _LONGEST:
        raise _Unusual
    reader = _Reader(tokens)
    named = [reader.term()]
    while reader.takes("and") or reader.takes("or"):
        named.append(reader.term())
    if reader.next is not _END:
        raise _Unusual
    return named


class _Reader:
    """Goes over the tokens of one expression, once."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens, self._at = tokens, 0

    @property
    def next(self) -> Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def take(self, *kinds: str) -> Token:
        """The next token, which is of one of these kinds."""
        token = self.next
        if token.kind not in kinds:
            raise _Unusual
        self._at += 1
        return token

    def takes(self, word: str) -> bool:
        """Whether the next token is this name or sign; then it is taken."""
        if self.next.kind not in ("name", "operator") or self.next.value != word:
            return False
        self._at += 1
        return True

    def term(self) -> _Named:
        """`not path | filter == literal`: all but the path may be missing."""
        self.takes("not")
        root, path, end = self._path()
        filters = [self._filter() for _ in iter(lambda: self.takes("|"), False)]
        ref = Ref(root.value, path, "default" in filters, root.offset, end - root.offset)
        if self.next.value not in _COMPARING or self.next.kind != "operator":
            return _Named(ref, None)
        sign, literal = self.take("operator"), self._literal()
        texts = sign.value in ("==", "!=") and literal.kind == "string" and not filters
        return _Named(ref, literal.value if texts else None)

    def _path(self) -> tuple[Token, tuple[str | int, ...], int]:
        """The root, the keys, and the offset after them."""
        root = self.take("name")
        if root.value not in ROOTS or root.value == "secrets":
            raise _Unusual
        keys: list[str | int] = []
        end = root.offset + len(root.value)
        while self.next.value in (".", "[") and self.next.kind == "operator":
            if self.next.offset != end:
                raise _Unusual
            key, end = self._attribute(end) if self.takes(".") else self._subscript()
            keys.append(key)
        if root.value == "steps" and not (keys and isinstance(keys[0], str)):
            raise _Unusual
        return root, tuple(keys), end

    def _attribute(self, dot: int) -> tuple[str, int]:
        name = self.take("name")
        if name.value[0] == "_" or name.offset != dot + 1:
            raise _Unusual
        return name.value, name.offset + len(name.value)

    def _subscript(self) -> tuple[str | int, int]:
        self.take("operator")
        key = self.take("string", "integer")
        closing = self.take("operator")
        if closing.value != "]":
            raise _Unusual
        return key.value if key.kind == "string" else _integer(key), closing.offset + 1

    def _filter(self) -> str:
        """Its name. Raises _Unusual unless its arguments are literals that it takes."""
        name = self.take("name").value
        if name not in FILTERS or name in TEST_POSITION:
            raise _Unusual
        given = self._arguments(FILTERS[name] if name not in KEYWORD_ONLY else ()) if self.takes("(") else []
        if not set(given) <= set(FILTERS[name]) or len(set(given)) < len(given):
            raise _Unusual
        if any(param not in given for param in FILTERS[name][: REQUIRED.get(name, 0)]):
            raise _Unusual
        return name

    def _arguments(self, positional: Sequence[str]) -> list[str]:
        """The names of the parameters that are given, up to the closing bracket."""
        given: list[str] = []
        free = list(positional)
        while not self.takes(")"):
            if given and not self.takes(","):
                raise _Unusual
            if self.next.kind == "name" and self.next.value not in _CONSTANTS:
                given.append(self.take("name").value)
                free = []
                if not self.takes("="):
                    raise _Unusual
            elif free:
                given.append(free.pop(0))
            else:
                raise _Unusual
            self._literal()
        return given

    def _literal(self) -> Token:
        token = self.take("string", "integer", "name")
        if token.kind == "name" and token.value not in _CONSTANTS:
            raise _Unusual
        if token.kind == "integer":
            _integer(token)
        return token


def _integer(token: Token) -> int:
    if len(token.value) > _DIGITS or not token.value.isdigit():
        raise _Unusual
    return int(token.value)
