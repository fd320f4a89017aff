"""Between the engine and its executors: answers come from stubs, from a recording, or from the executors themselves, whose answers may be
recorded. One `Seam` a case, in one event loop.

A call is matched by the step that makes it (`STEP[KEY]`, `CALLER/STEP`), by how many calls that step had made before, and by all that it
asks. What does not match is a failure of the case, told as a `Trouble`; its step fails as `invalid`, so nothing is tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from runner.core.graph import Json
from runner.manifest.answers import Answer, Binary
from runner.manifest.suite import RecordedCase
from runner.manifest.vocabulary import Effects
from runner.ports import CallResult, Executor, Request, ServerPool, ToolInfo
from runner.replay.answering import over, result_of, told
from runner.replay.asking import Asker, Items, Veil, names_of, question
from runner.replay.difference import difference

Probe = Callable[[str], Awaitable[str]]
"""Asks a subject (`endpoint:NAME`, `executor:NAME`) whether it is there: "" = yes, else why not."""

REAL = frozenset({"call"})
"""Verbs that ask nobody: a sub-run's result is there already."""


class Files(Protocol):
    """What calls do to the files that they work on."""

    def root(self, cwd: str) -> Path:
        """The workspace, or the worktree, that this folder lies in."""
        ...

    def watches(self, asker: Asker, verb: str) -> bool:
        """Do the files that this call writes matter to what follows?"""
        ...

    async def look(self, root: Path) -> Any:
        """The files as they are."""
        ...

    async def written(self, root: Path, before: Any) -> dict[str, str | Binary | None]:
        """What is not as it was: content by path, None = removed."""
        ...

    async def write(self, root: Path, files: Mapping[str, str | Binary | None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Trouble:
    """A call that has no answer. `lines`: what changed, as a diff."""

    kind: Literal["missing", "changed"]
    where: str
    message: str
    lines: tuple[str, ...] = ()


@dataclass(slots=True)
class Made:
    """A call as it was just recorded. `data` is that of a `manifest.suite.Call`."""

    step: str
    part: str
    call: int
    data: dict[str, Json]


@dataclass(slots=True)
class Seam:
    """`recording`: answers to give again, None while recording. `real_runs`: local commands run. `retell`: how to record again."""

    stubs: Mapping[str, Sequence[Answer]]
    recording: RecordedCase | None
    items: Items
    veil: Veil
    files: Files
    real_runs: bool = False
    retell: str = ""
    effects: Mapping[str, Effects] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Model → the endpoint that answers for it."""
    made: list[Made] = field(default_factory=list)
    tools: dict[str, Effects] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    pool: ServerPool | None = None
    _count: Counter[tuple[str, str]] = field(default_factory=Counter)
    _stubbed: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lost: set[str] = field(default_factory=set)
    _used: set[int] = field(default_factory=set)
    _index: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        calls = self.recording.calls if self.recording is not None else ()
        self._index = {(call.step, call.part or "", call.call): at for at, call in enumerate(calls)}

    # ------------------------------------------------------------ what open_app takes

    def wrap(self, executors: Mapping[str, Executor]) -> Mapping[str, Executor]:
        return {verb: real if verb in REAL else Seated(self, verb, real) for verb, real in executors.items()}

    def servers(self, real: ServerPool) -> ServerPool:
        self.pool = real
        return real if self.recording is None else RecordedServers(real, self.effects, self.recording.tools)

    def probe(self, real: Probe) -> Probe:
        return real if self.recording is None else self._probed

    async def _probed(self, subject: str) -> str:
        """An endpoint is there, unless its last answer was that nobody reached it."""
        return "nobody reached it (replayed)" if subject.partition(":")[2] in self._lost else ""

    # ------------------------------------------------------------ a call

    async def call(self, verb: str, real: Executor, request: Request) -> CallResult:
        asker = self.items.asker(request)
        if asker is None:  # git, around worktrees of steps
            return await real.call(request)
        if (stub := self._stub(asker)) is not None:
            return await self._given(stub, request, asker)
        if self.real_runs and verb == "run":
            return await real.call(request)
        self._count[asker.step, asker.part] += 1
        number = self._count[asker.step, asker.part]
        root = self.files.root(request.cwd)
        asks = question(request, root, self.veil, asker.run)
        if self.recording is None:
            return await self._record(real, request, asker, number, asks, root)
        return await self._replay(self.recording, request, asker, number, asks)

    def _stub(self, asker: Asker) -> Answer | None:
        """The stub of an item stands before that of its step."""
        if asker.part:
            return None
        key = next((name for name in names_of(asker.step) if name in self.stubs), None)
        if key is None:
            return None
        at = self._stubbed[key, asker.step]
        self._stubbed[key, asker.step] += 1
        answers = self.stubs[key]
        return answers[min(at, len(answers) - 1)]

    async def _given(self, answer: Answer, request: Request, asker: Asker) -> CallResult:
        if answer.files:
            await self.files.write(self.files.root(request.cwd), answer.files)
        result = result_of(answer, request, self._executor(request))
        if result.contact == "unreached":
            self._lost.add(result.executor)
        else:
            self._lost.discard(result.executor)
        return over(result, lambda value: self.veil.off(value, asker.run))

    def _executor(self, request: Request) -> str:
        return self.endpoints.get(request.label, request.label) if request.verb == "model" else request.label

    async def _record(
        self, real: Executor, request: Request, asker: Asker, number: int, asks: Json, root: Path
    ) -> CallResult:
        watched = not asker.part and self.files.watches(asker, request.verb)
        before = await self.files.look(root) if watched else None
        result = await real.call(request)
        said = self.veil.over(told(result, request.label, self._executor(request)), asker.run)
        if request.verb == "model":
            said.pop("session", None)  # the conversation, again
        if watched and (files := await self.files.written(root, before)):
            said["files"] = self.veil.over(
                {path: value.model_dump() if isinstance(value, Binary) else value for path, value in files.items()},
                asker.run,
            )
        data = {"step": asker.step, "part": asker.part or None, "call": number if number > 1 else None,
                "to": f"{request.verb} {request.label}", "asked": asks, "answer": said}  # fmt: skip
        self.made.append(
            Made(asker.step, asker.part, number, {key: value for key, value in data.items() if value is not None})
        )
        self._note_tool(request)
        return result

    def _note_tool(self, request: Request) -> None:
        """What the kernel was told of a tool is part of what is recorded."""
        if request.verb == "tool" and self.pool is not None:
            name = str(request.inputs["tool"])
            if (info := self.pool.tool(request.label, name)) is not None:
                self.tools[f"{request.label}.{name}"] = _effects(info)

    async def _replay(
        self, recording: RecordedCase, request: Request, asker: Asker, number: int, asks: Json
    ) -> CallResult:
        at = self._index.get((asker.step, asker.part, number))
        if at is None:
            return self._trouble("missing", asker, number, self._never(asker, number, request))
        call, to = recording.calls[at], f"{request.verb} {request.label}"
        self._used.add(at)
        if to != call.to:
            return self._trouble(
                "changed", asker, number, f"it was asked of `{call.to}` when it was recorded, and now of `{to}`"
            )
        if call.asked != asks:
            keys, lines = difference(call.asked, asks)
            said = ", ".join(f"`{key}`" for key in keys)
            return self._trouble(
                "changed", asker, number, f"it asks something else than when it was recorded: {said}", lines
            )
        return await self._given(call.answer, request, asker)

    def _never(self, asker: Asker, number: int, request: Request) -> str:
        known = sum((asker.step, asker.part) == key[:2] for key in self._index)
        if known:
            return f"only {known} of its calls {'was' if known == 1 else 'were'} recorded"
        return f"its call of `{request.verb} {request.label}` was never recorded, and it has no stub"

    def _trouble(
        self, kind: Literal["missing", "changed"], asker: Asker, number: int, message: str, lines: Sequence[str] = ()
    ) -> CallResult:
        where = f"{asker}, call {number}" if number > 1 else str(asker)
        self.troubles.append(Trouble(kind, where, message, tuple(lines)))
        return CallResult(error_class="invalid", message=f"{message}\n{self.retell}".rstrip())

    # ------------------------------------------------------------ afterwards

    def unused(self) -> list[str]:
        """Recorded calls that nobody made."""
        calls = self.recording.calls if self.recording is not None else ()
        return [
            f"{call.step}{f' ({call.part})' if call.part else ''}{f', call {call.call}' if call.call > 1 else ''}"
            for at, call in enumerate(calls)
            if at not in self._used
        ]

    def unused_stubs(self) -> list[str]:
        """Stubs that nobody asked for."""
        used = {key for key, _ in self._stubbed}
        return [step for step in self.stubs if step not in used]


@dataclass(frozen=True, slots=True)
class Seated:
    """The `Executor` of one verb, behind the seam."""

    seam: Seam
    verb: str
    real: Executor

    async def call(self, request: Request) -> CallResult:
        return await self.seam.call(self.verb, self.real, request)

    async def close(self) -> None:
        await self.real.close()


@dataclass(frozen=True, slots=True)
class RecordedServers:
    """The `ServerPool` of a replay: every session is open, nothing is started, and tools are what they were when it was recorded."""

    real: ServerPool
    stated: Mapping[str, Effects]
    recorded: Mapping[str, Effects]

    def known(self, server: str) -> bool:
        return self.real.known(server)

    def status(self, server: str) -> Literal["closed", "opening", "open", "failed"]:
        return "open"

    def ensure(self, server: str, done: Any) -> None:
        done()

    def tool(self, server: str, name: str) -> ToolInfo | None:
        effects = self.recorded.get(f"{server}.{name}") or self.stated.get(f"{server}.{name}")
        if effects is None:
            return None
        return ToolInfo(name, "", {}, None, read_only=effects == "none", idempotent=effects == "idempotent")

    def max_in_flight(self, server: str) -> int:
        return self.real.max_in_flight(server)


def _effects(info: ToolInfo) -> Effects:
    return "none" if info.read_only else "idempotent" if info.idempotent else "once"
