"""The pass that compares the manifest with config: names that config does not define, tools that a server does not have, what the
operator's policy refuses. Nothing is resolved or started; what is not known is not reported."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

from runner.core.compile.state import Compiling, Where, verb_of
from runner.core.graph import Json
from runner.core.inputs import mismatch
from runner.diagnostics.model import Loc
from runner.manifest.vocabulary import MODES
from runner.templating import has_template

DEFINE = "define it in config.yaml"


def check_configured(c: Compiling) -> None:
    """Judge every way of every step."""
    for draft in c.drafts.values():
        _way(c, draft.loc, draft.raw)
        for index, entry in enumerate(draft.raw.get("fallback", ())):
            _way(c, (*draft.loc, "fallback", index), entry)
        for index, check in enumerate(draft.raw.get("checks", ())):
            judge = check.get("judge")
            if isinstance(judge, Mapping):
                _route(c, (*draft.loc, "checks", index, "judge", "route"), judge.get("route"))
        _faults(c, (*draft.loc, "faults"), draft.raw.get("faults"))
    defaults = c.data.get("defaults") or {}
    _route(c, ("defaults", "route"), defaults.get("route"))
    _faults(c, ("defaults", "faults"), defaults.get("faults"))


def _way(c: Compiling, loc: Loc, raw: Mapping[str, Json]) -> None:
    verb = verb_of(raw)
    route = raw.get("route")
    if verb == "tool":
        _tool(c, loc, raw)
    elif verb == "run" and not c.facts.run_allowed:
        c.report("policy", Where((*loc, "run")), "the operator's policy denies local commands", key=True)
    elif verb in ("agent", "model") and not _candidate(c, loc, verb, route or {}):
        return
    _route(c, (*loc, "route"), route, models=verb != "agent")


def _candidate(c: Compiling, loc: Loc, verb: str, route: Mapping[str, Json]) -> bool:
    """Whether something configured may do this; reported when nothing can."""
    known, key, noun = (
        (c.facts.executors, "executors", "agent executor") if verb == "agent" else (c.facts.models, "models", "model")
    )
    if known is not None and not known:
        c.report("no-candidate", Where((*loc, verb)), f"config defines no {noun}", key=True)
        return False
    required = _list(route.get("requires"))
    if known is None or c.facts.capabilities is None or not required or has_template([*required]):
        return True
    chain = [name for name in _list(route.get(key)) if name in known] or known
    if not any(c.facts.capabilities.get(name, frozenset()).issuperset(required) for name in chain):
        c.report("no-candidate", Where((*loc, "route", "requires")), f"no {noun} here has {' and '.join(required)}")
    return True


def _list(words: Json) -> list[str]:
    return [words] if isinstance(words, str) else list(words or ())


def _route(c: Compiling, loc: Loc, route: Json, *, models: bool = True) -> None:
    """`models`: they are entries of config; an agent may be asked for any model that it knows itself."""
    if not isinstance(route, Mapping):
        return
    if c.facts.models is not None and models:
        words = _list(route.get("models"))
        known = c.facts.models | c.facts.chains if len(words) == 1 else c.facts.models
        _words(c, (*loc, "models"), route.get("models"), known, "model", c.facts.chains - known)
    if c.facts.executors is not None:
        _words(c, (*loc, "executors"), route.get("executors"), c.facts.executors, "agent executor", frozenset())


def _faults(c: Compiling, loc: Loc, faults: Json) -> None:
    for mode in MODES:
        policy = (faults or {}).get(mode)
        if policy:
            _route(c, (*loc, mode, "route"), policy.get("route"))


def _words(c: Compiling, loc: Loc, words: Json, known: Collection[str], noun: str, chains: Collection[str]) -> None:
    single = isinstance(words, str)
    for index, word in enumerate(_list(words)):
        where = Where(loc if single else (*loc, index))
        if word in chains:
            message = f"`{word}` is a chain, which stands alone"
            c.report("not-configured", where, message, f"`models: [{word}]`, or name its models")
        elif word not in known and not has_template(word):
            c.report("not-configured", where, f"config defines no {noun} `{word}`", c.meant(word, known) or DEFINE)


def _tool(c: Compiling, loc: Loc, raw: Mapping[str, Json]) -> None:
    name = raw["tool"]
    where = Where((*loc, "tool"))
    server, _, tool = name.partition(".")
    if c.facts.servers is not None and server not in c.facts.servers:
        fix = c.meant(server, c.facts.servers) or DEFINE
        c.report("not-configured", where, f"config defines no MCP server `{server}`", fix)
    elif not _allowed(c, name):
        c.report("policy", where, f"the operator's policy denies `{name}`")
    tools = c.facts.tools.get(server)
    if tools is None:
        return
    if tool not in tools:
        fix = c.meant(tool, tools) or f"there are {', '.join(sorted(tools))}"
        c.report("unknown-tool", where, f"the server `{server}` has no tool `{tool}`", fix)
    elif (schema := tools[tool]) is not None:
        _arguments(c, loc, raw.get("with") or {}, schema)


def _allowed(c: Compiling, name: str) -> bool:
    if any(fnmatchcase(name, pattern) for pattern in c.facts.deny_tools):
        return False
    return any(fnmatchcase(name, pattern) for pattern in c.facts.allow_tools)


def _arguments(c: Compiling, loc: Loc, given: Mapping[str, Json], schema: Mapping[str, Json]) -> None:
    properties: Mapping[str, Json] = schema.get("properties") or {}
    closed = schema.get("additionalProperties", True) is False
    for name, value in given.items():
        where = Where((*loc, "with", name))
        if name not in properties:
            if closed:
                c.report(
                    "tool-arguments",
                    where,
                    f"the tool has no argument `{name}`",
                    c.meant(name, properties),
                    key=True,
                )
        elif (
            not has_template(value)
            and "$ref" not in str(properties[name])
            and (why := mismatch(properties[name], value))
        ):
            c.report("tool-arguments", where, f"the tool cannot take this: {why}")
    missing = [name for name in schema.get("required") or () if name not in given]
    if missing:
        where = Where((*loc, "with") if given else (*loc, "tool"))
        c.report(
            "tool-arguments", where, f"the tool needs {', '.join(f'`{name}`' for name in missing)}", key=bool(given)
        )
