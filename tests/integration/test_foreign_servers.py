"""MCP servers that others wrote, driven by manifests through `runner apply`: npm server-everything (stdio, HTTP, SSE) and
server-filesystem, PyPI mcp-server-git and mcp-server-time. `.ci/install-foreign-servers` installs them; else these tests skip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp_calls import SERVERS

pytestmark = pytest.mark.slow

INSTALL = Path(__file__).parents[2] / ".ci" / "install-foreign-servers"
Servers = Callable[[str], Path]


@pytest.fixture(scope="session")
def foreign() -> Servers:
    """`npm` or `pypi` → the folder of its programs. Skips with the reason when they cannot be had."""
    found: dict[str, subprocess.CompletedProcess[str]] = {}

    def folder(kind: str) -> Path:
        if kind not in found:
            found[kind] = subprocess.run(["bash", str(INSTALL), kind], capture_output=True, text=True, timeout=600)
        if found[kind].returncode == 75:
            pytest.skip(found[kind].stderr.strip())
        assert found[kind].returncode == 0, found[kind].stderr
        return Path(found[kind].stdout.strip()) / ("node_modules/.bin" if kind == "npm" else "bin")

    return folder


class Project:
    """A folder with a config and one manifest at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def runner(self, *args: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-P", "-m", "runner", *args],
            cwd=self.root,
            env=kept | {"USER": "somebody"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def servers(self, **servers: dict[str, Any]) -> None:
        (self.root / "config.yaml").write_text(json.dumps({"mcp_servers": servers}))  # JSON is YAML

    def apply(self, steps: dict[str, Any], outputs: dict[str, str] | None = None, exit_code: int = 0) -> Any:
        """The run of a manifest with these steps."""
        manifest = {"ares": "v1", "name": "foreign", "steps": steps} | ({"outputs": outputs} if outputs else {})
        (self.root / "foreign.yaml").write_text(json.dumps(manifest))
        done = self.runner("apply", "foreign.yaml", "--json")
        assert done.returncode == exit_code, (
            f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
        [run] = json.loads(done.stdout)["runs"]
        return run

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted((self.root / ".ares" / "logs").rglob("*.log")))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@contextmanager
def everything_at(programs: Path, way: str) -> Iterator[str]:
    """server-everything over HTTP, on this machine only; gives its URL."""
    command = ["node", "--require", str(SERVERS / "loopback.cjs"), str(programs / "mcp-server-everything"), way]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with subprocess.Popen(
        command, env=kept | {"PORT": "0"}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        try:
            port = next(line.split()[1] for line in server.stdout if line.startswith("PORT "))
            yield f"http://127.0.0.1:{port}/{'sse' if way == 'sse' else 'mcp'}"
        finally:
            server.kill()


@pytest.fixture(params=["stdio", "streamableHttp", "sse"])
def everything(request: pytest.FixtureRequest, foreign: Servers, project: Project) -> Iterator[Project]:
    """A project whose server `everything` is reached in each way."""
    programs = foreign("npm")
    if request.param == "stdio":
        project.servers(everything={"command": str(programs / "mcp-server-everything")})
        yield project
        return
    with everything_at(programs, request.param) as url:
        transport = "sse" if request.param == "sse" else "http"
        headers = {"X-Of-Ours": "hello"}
        project.servers(everything={"url": url, "transport": transport, "headers": headers})
        yield project


def tool(name: str, *, of: str = "everything", **given: Any) -> dict[str, Any]:
    return {"tool": f"{of}.{name}", "with": given}


# ---------------------------------------------------------------- server-everything, in three ways


def test_everything_gives_structured_content_text_images_and_resources(everything: Project) -> None:
    run = everything.apply(
        {
            "weather": tool("get-structured-content", location="Chicago"),
            "sum": tool("get-sum", a=2, b="{{ steps.weather.output.temperature }}"),
            "image": tool("get-tiny-image"),
            "blob": tool("get-resource-reference", resourceType="Blob", resourceId=1),
            "links": tool("get-resource-links", count=2),
        },
        {
            "temperature": "{{ steps.weather.output.temperature }}",
            "sum": "{{ steps.sum.text }}",
            "image": "{{ steps.image.output }}",
            "words": "{{ steps.image.text }}",
            "blob": "{{ steps.blob.output }}",
            "links": "{{ steps.links.output }}",
        },
    )
    out = run["outputs"]
    assert out["temperature"] == 36
    assert "38" in out["sum"]
    assert [part["type"] for part in out["image"]] == ["text", "image", "text"]
    assert out["image"][1]["mimeType"] == "image/png" and out["image"][1]["size"] > 1000
    assert out["words"] == "Here's the image you requested:\nThe image above is the MCP logo."
    [resource] = [part for part in out["blob"] if part["type"] == "resource"]
    assert resource["uri"].startswith("demo://resource/") and resource["data"]
    assert sum(part["type"] == "resource_link" for part in out["links"]) == 2
    pinned = json.loads((everything.root / ".ares" / "tools.lock").read_text())
    assert "get-tiny-image" in pinned["everything"]


def test_everything_reports_progress_of_a_long_operation(everything: Project) -> None:
    run = everything.apply(
        {"long": tool("trigger-long-running-operation", duration=0.2, steps=4)}, {"said": "{{ steps.long.text }}"}
    )
    assert "completed" in run["outputs"]["said"]
    for done in range(1, 5):
        assert f"{done}/4" in everything.logs()


def test_everything_may_take_too_long_and_is_used_again(everything: Project) -> None:
    long = tool("trigger-long-running-operation", duration=30, steps=2)
    run = everything.apply(
        {
            "long": long | {"timeout": "400ms", "faults": {"retry": {"max": 0}}, "optional": True},
            "echo": tool("echo", message="still there") | {"needs": ["long"]},
        }
    )
    assert run["steps"]["long"]["error"]["class"] == "timeout"
    assert run["steps"]["echo"]["state"] == "succeeded"


def test_what_is_wrong_with_a_call_of_everything_is_named(everything: Project) -> None:
    run = everything.apply(
        {
            "place": tool("get-structured-content", location="Paris"),
            "name": tool("get-some", a=1, b=2),
            "resource": tool("get-resource-reference", resourceType="Blob", resourceId=-1),
        },
        exit_code=1,
    )
    errors = {name: step["error"] for name, step in run["steps"].items()}
    assert errors["place"]["class"] == "invalid" and "must be one of" in errors["place"]["message"]
    assert errors["name"]["class"] == "invalid" and "did you mean `get-sum`?" in errors["name"]["message"]
    assert errors["resource"]["class"] == "tool_error" and "-1" in errors["resource"]["message"]


# ---------------------------------------------------------------- the others


def test_filesystem_writes_and_reads_below_its_root_only(foreign: Servers, project: Project) -> None:
    project.servers(files={"command": str(foreign("npm") / "mcp-server-filesystem"), "args": [str(project.root)]})
    here = str(project.root / "note.txt")
    run = project.apply(
        {
            "write": tool("write_file", of="files", path=here, content="né\n") | {"effects": "idempotent"},
            "read": tool("read_text_file", of="files", path=here) | {"needs": ["write"]},
        },
        {"text": "{{ steps.read.text }}", "content": "{{ steps.read.output.content }}"},
    )
    assert (run["outputs"]["text"], run["outputs"]["content"]) == ("né\n", "né\n")
    refused = project.apply({"read": tool("read_text_file", of="files", path="/etc/passwd")}, exit_code=1)
    error = refused["steps"]["read"]["error"]
    assert error["class"] == "tool_error" and "denied" in error["message"].lower()


def test_git_commits_and_shows_what_it_did(foreign: Servers, project: Project) -> None:
    repo = project.root / "repo"
    repo.mkdir()
    for args in (["init", "-q", "-b", "main"], ["config", "user.name", "a"], ["config", "user.email", "a@example.com"]):
        subprocess.run(["git", "-C", str(repo), *args], check=True)
    (repo / "new.txt").write_text("new\n")
    project.servers(git={"command": str(foreign("pypi") / "mcp-server-git"), "args": ["--repository", str(repo)]})
    where = {"repo_path": str(repo)}
    run = project.apply(
        {
            "add": tool("git_add", of="git", files=["new.txt"], **where),
            "commit": tool("git_commit", of="git", message="from a manifest", **where) | {"needs": ["add"]},
            "log": tool("git_log", of="git", max_count=1, **where) | {"needs": ["commit"]},
        },
        {"log": "{{ steps.log.text }}"},
    )
    assert "from a manifest" in run["outputs"]["log"]
    again = project.apply({"commit": tool("git_show", of="git", revision="no-such-revision", **where)}, exit_code=1)
    assert again["steps"]["commit"]["error"]["class"] == "tool_error"


def test_time_is_converted_and_a_zone_that_is_none_is_refused(foreign: Servers, project: Project) -> None:
    project.servers(time={"command": str(foreign("pypi") / "mcp-server-time"), "args": ["--local-timezone", "UTC"]})
    noon = {"source_timezone": "UTC", "time": "12:00"}
    schema = {"target": {"type": "object"}, "time_difference": {"type": "string"}}
    run = project.apply(
        {
            "tokyo": tool("convert_time", of="time", target_timezone="Asia/Tokyo", **noon) | {"returns": schema},
            "nowhere": tool("convert_time", of="time", target_timezone="Nowhere/At_All", **noon) | {"optional": True},
        },
        {"difference": "{{ steps.tokyo.output.time_difference }}"},
    )
    assert run["outputs"] == {"difference": "+9.0h"}
    assert run["steps"]["nowhere"]["error"]["class"] == "tool_error"
