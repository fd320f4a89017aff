"""Temporal with its dev server and SQLite on disk: `python temporal_bench.py CELL FOLDER` prints steps a second as JSON.

Runs in a venv of its own, with the server as a package. A step is an activity of a workflow; server and worker (this process) talk over
loopback. The server commits the history of a workflow, with inputs and results of each activity, before it goes on; another worker would resume
from it. Its database is set to WAL and `synchronous=FULL` (by itself it keeps the rollback journal, which is slower). Workflows run outside the
SDK's sandbox, which is quicker. Starting the server lies before the clock.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "bench"
LIMIT = timedelta(minutes=2)
PATIENCE = 30.0
"""Seconds that the server may take to start."""


@activity.defn
async def step(before: str) -> str:
    """Does nothing with the result of the one before; its own is stored."""
    return "x" * 40


@activity.defn
async def join(outputs: list[str]) -> int:
    """Counts what the items have given."""
    return len(outputs)


@activity.defn
async def command() -> None:
    """Runs a local command."""
    assert await (await asyncio.create_subprocess_exec("true")).wait() == 0


@workflow.defn
class Chain:
    """Activities that each take what the one before gave."""

    @workflow.run
    async def run(self, count: int) -> None:
        value = ""
        for _ in range(count):
            value = await workflow.execute_activity(step, value, start_to_close_timeout=LIMIT)


@workflow.defn
class Fan:
    """An activity for each item, all at once, and one that joins them."""

    @workflow.run
    async def run(self, count: int) -> None:
        each = [workflow.execute_activity(step, str(i), start_to_close_timeout=LIMIT) for i in range(count)]
        outputs = list(await asyncio.gather(*each))
        assert await workflow.execute_activity(join, outputs, start_to_close_timeout=LIMIT) == count


@workflow.defn
class One:
    """One local command."""

    @workflow.run
    async def run(self, count: int) -> None:
        await workflow.execute_activity(command, start_to_close_timeout=LIMIT)


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[Client]:
    """The dev server on a free port of loopback; gone afterwards."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    program = Path(sys.executable).with_name("temporal")
    argv = [
        str(program),
        "server",
        "start-dev",
        "--headless",
        "--ip",
        "127.0.0.1",
        "--port",
        port,
        "--log-level",
        "error",
    ]
    process = subprocess.Popen(
        [
            *argv,
            "--sqlite-pragma",
            "journal_mode=wal",
            "--sqlite-pragma",
            "synchronous=full",
            "--db-filename",
            str(folder / "temporal.db"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield await _client(f"127.0.0.1:{port}", process)
    finally:
        process.kill()
        process.wait()


async def _client(address: str, process: subprocess.Popen[bytes]) -> Client:
    """A connection, as soon as the server gives one."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return await Client.connect(address)
        except (RPCError, RuntimeError):
            if process.poll() is not None or time.monotonic() > end:
                raise
            await asyncio.sleep(0.02)


async def main() -> None:
    """`chain-N`, `fan-N` (with a join), `runs-N` (N workflows of three, all at once) and `one`."""
    kind, _, number = sys.argv[1].partition("-")
    count = int(number or 1)
    runs, each, flow, steps = {
        "chain": (1, count, Chain, count),
        "fan": (1, count, Fan, count + 1),
        "runs": (count, 3, Chain, count * 3),
        "one": (1, 1, One, 1),
    }[kind]
    async with (
        server(Path(sys.argv[2])) as client,
        Worker(
            client,
            task_queue=QUEUE,
            workflows=[Chain, Fan, One],
            activities=[step, join, command],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ),
    ):
        begun = time.perf_counter()
        await asyncio.gather(
            *[client.execute_workflow(flow.run, each, id=f"w{i}", task_queue=QUEUE) for i in range(runs)]
        )
        spent = time.perf_counter() - begun
    print(json.dumps({"per_s": steps / spent}))


if __name__ == "__main__":
    asyncio.run(main())
