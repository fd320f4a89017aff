"""Cells with another program beside them: a model endpoint on loopback, and `runner watch`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from anchors import HERE, clean
from inprocess import compiled, peak_mib

import manifests

Figures = dict[str, float]

# ---------------------------------------------------------------- models

STEPS, TIMES = 40, 5
UPSTREAM = HERE.parent / "tests" / "integration" / "servers" / "fake_llm.py"
"""Speaks the OpenAI chat API and answers at once."""


def model(client: str) -> Callable[[Path], Figures]:
    """What a durable model step costs over the same call with bare httpx: milliseconds a call, medians over a few chains of steps and
    as many rows of calls, in turns. CPU is this process's; the upstream has its own."""

    def cell(root: Path) -> Figures:
        with upstream() as port:
            (root / "config.yaml").write_text(_config(port, client))
            return asyncio.run(_model(root, port, client))

    return cell


def _config(port: int, client: str) -> str:
    endpoint = f'{{kind: openai, url: "http://127.0.0.1:{port}/v1", api_key: "${{BENCH_KEY}}", client: {client}}}'
    entry = "{endpoint: up, model: echo, tier: paid, price: {in: 1, out: 1}}"
    return f"models: {{endpoints: {{up: {endpoint}}}, catalog: {{echo: {entry}}}}}\n"


async def _model(root: Path, port: int, client: str) -> Figures:
    import httpx

    from runner.api.settings import load_config
    from runner.api.wiring import open_app
    from runner.clock import SystemClock

    settings = load_config(root / "config.yaml", start=root, env={})
    graph = compiled(manifests.models(STEPS), root, settings)
    url, key = f"http://127.0.0.1:{port}/v1/chat/completions", {"BENCH_KEY": "no-secret-at-all"}
    bare: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    library: list[tuple[float, float]] = []
    async with httpx.AsyncClient() as http, open_app(settings, sinks=(), clock=SystemClock(), env=key) as app:
        for _ in range(TIMES + 1):  # the first ones open connections, and import the client
            bare.append(await _timed(lambda: _calls(http, url)))
            ours.append(await _timed(lambda: _run(app, graph)))
            if client == "litellm":
                library.append(await _timed(lambda: _library_calls(url)))
    (bare_cpu, bare_ms), (cpu, ms), (library_cpu, _) = (
        map(median, zip(*found[1:], strict=True)) for found in (bare, ours, library or bare)
    )
    return {
        "over_library_ms": cpu - library_cpu, "library_cpu": library_cpu,
        "cpu_ms": cpu - bare_cpu, "wall_ms": ms - bare_ms, "bare_cpu": bare_cpu, "bare_ms": bare_ms, "ours_cpu": cpu, "ours_ms": ms,
        "rss": peak_mib(),
    }  # fmt: skip


async def _timed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """(CPU, time) of one of `STEPS` calls, milliseconds."""
    cpu, begun = time.process_time(), time.perf_counter()
    await work()
    return (time.process_time() - cpu) / STEPS * 1e3, (time.perf_counter() - begun) / STEPS * 1e3


async def _calls(http: Any, url: str) -> None:
    for number in range(STEPS):
        messages = [{"role": "user", "content": f"say {number}"}]
        answer = await http.post(url, json={"model": "echo", "messages": messages})
        assert answer.json()["choices"][0]["message"]["content"]


async def _library_calls(url: str) -> None:
    """With LiteLLM alone, which is imported by then and has its connection."""
    litellm: Any = sys.modules["litellm"]
    for number in range(STEPS):
        messages = [{"role": "user", "content": f"say {number}"}]
        base = url.removesuffix("/chat/completions")
        answer = await litellm.acompletion(model="openai/echo", messages=messages, api_base=base, api_key="none")
        assert answer.choices[0].message.content


async def _run(app: Any, graph: Any) -> None:
    from runner.ports import NewRun

    run = app.new_run_id()
    row = NewRun(run, run, graph.name, graph.digest, run, {}, app.clock.now())
    end = await app.start(row, graph, {}, "", refresh="all", supersede=())
    assert end.state == "succeeded", end


@contextmanager
def upstream() -> Iterator[int]:
    """A model endpoint in a process of its own: its port."""
    argv = [sys.executable, str(UPSTREAM), "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=clean()) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


# ---------------------------------------------------------------- watch

SAVES, SETTLE_S = 9, 0.4
PATIENCE_S = 30.0


def watched(root: Path) -> Figures:
    """Seconds from a saved manifest to what its step does, the median of a few saves, with a file that counts after 0.4 s."""
    folder = root / "watched"
    folder.mkdir()
    env = clean({"PYTHONPATH": str(HERE.parent), "XDG_CACHE_HOME": str(root / ".cache"), "CI": "1"})
    argv = [sys.executable, "-m", "runner", "-q", "watch", "watched", "--settle", f"{SETTLE_S * 1e3:.0f}ms"]
    with subprocess.Popen(argv, cwd=root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as watch:
        try:
            _save(root, 0)
            found = [_save(root, number) for number in range(1, SAVES + 1)]
        finally:
            watch.terminate()
    return {"run_s": median(found), "least_s": min(found), "most_s": max(found)}


def _save(root: Path, number: int) -> float:
    """Seconds until the step of this content has been at work."""
    text = f"ares: v1\nname: watched\nsteps: {{a: {{run: [touch, done-{number}], effects: idempotent}}}}\n"
    new, done = root / "new.yaml", root / f"done-{number}"
    new.write_text(text)
    begun = time.perf_counter()
    os.replace(new, root / "watched" / "manifest.yaml")
    while not done.exists():
        if time.perf_counter() - begun > PATIENCE_S:
            raise RuntimeError(f"save {number} was not run in {PATIENCE_S:.0f} s")
        time.sleep(0.002)
    return time.perf_counter() - begun
