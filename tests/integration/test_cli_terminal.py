"""The live tree on a real terminal (a pseudo terminal): drawn where it can be, and the terminal is left as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from pathlib import Path
from pipes import a_terminal_that_may_hang_up, begun, let_go, pipes

import pytest
from cli_project import HELLO, Project, environment

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
FAILS = "ares: v1\nname: fails\nsteps: {bad: {run: [sh, -c, 'exit 3'], effects: none}}\n"


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, capsys)
    project.write("hello.yaml", HELLO)
    project.write("fails.yaml", FAILS)
    return project


class OnTerminal:
    """A command whose stderr is a terminal. `read` gives what it has drawn, up to `text` or its end."""

    def __init__(self, project: Project, *argv: str, **env: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runner", *argv], cwd=project.root, env={**environment(), "TERM": "xterm", **env},
            stdout=subprocess.PIPE, stderr=theirs, text=True, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.drawn = ""

    def read(self, text: str | None = None) -> str:
        while text is None or text not in self.drawn:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # how a terminal says that nobody writes any more
                break
            if not data:
                break
            self.drawn += data.decode("utf-8", "replace")
        return self.drawn

    def end(self) -> tuple[int, str, str]:
        drawn = self.read()
        out, _ = self.process.communicate(timeout=30)
        os.close(self._ours)
        return self.process.returncode, out, drawn


def test_a_terminal_shows_the_tree_and_gets_its_cursor_back(project: Project) -> None:
    code, out, drawn = OnTerminal(project, "apply", "hello.yaml", "fails.yaml").end()
    assert code == 1
    assert "succeeded" in out
    assert drawn.count(HIDE) == 1
    assert drawn.rindex(SHOW) > drawn.rindex(HIDE)
    assert "fails/bad" in drawn, "failures get a line that stays"


@pytest.mark.parametrize("env", [{"CI": "1"}, {"TERM": "dumb"}])
def test_no_tree_where_the_cursor_cannot_move_or_nobody_looks(project: Project, env: dict[str, str]) -> None:
    code, _, drawn = OnTerminal(project, "apply", "hello.yaml", **env).end()
    assert code == 0
    assert HIDE not in drawn
    assert "hello/greet" in drawn


@pytest.mark.parametrize("again", [["resume", "two"], ["apply", "two.yaml"]])
def test_a_run_that_goes_on_shows_how_many_of_its_steps_are_done(project: Project, again: list[str]) -> None:
    steps = "{first: {run: [echo, a], effects: none}, bad: {run: ['false'], needs: [first], effects: none}}"
    project.write("two.yaml", f"ares: v1\nname: two\nsteps: {steps}\n")
    assert project.cli("apply", "two.yaml").code == 1
    code, _, drawn = OnTerminal(project, *again).end()
    assert code == 1
    assert "1/2 steps" in drawn
    assert "steps more" not in drawn


def test_no_color_leaves_the_tree_without_colours(project: Project) -> None:
    _, _, drawn = OnTerminal(project, "apply", "hello.yaml", NO_COLOR="1").end()
    assert HIDE in drawn
    assert "\x1b[32m" not in drawn and "\x1b[34m" not in drawn


def test_two_interrupts_leave_the_terminal_as_it_was(project: Project) -> None:
    project.write("slow.yaml", "ares: v1\nname: slow\nsteps: {wait: {run: [sleep, '60'], effects: none}}\n")
    terminal = OnTerminal(project, "apply", "slow.yaml")
    terminal.read("wait")
    terminal.process.send_signal(signal.SIGINT)
    terminal.read("letting running steps end")
    terminal.process.send_signal(signal.SIGINT)
    code, out, drawn = terminal.end()
    assert code == 130
    assert "interrupted" in out
    assert drawn.rindex(SHOW) > drawn.rindex(HIDE)


@pytest.mark.parametrize(
    "argv", [["apply", "slow.yaml"], ["--verbose", "apply", "slow.yaml"], ["apply", "slow.yaml", "--events"]]
)
def test_a_terminal_that_is_closed_lets_running_steps_end_though_nothing_can_be_written(
    project: Project, argv: list[str]
) -> None:
    """The terminal is ours alone, so the kernel tells us; after that every write to it fails."""
    pipes(project.root)
    steps = "{wait: {run: 'echo $$ > began; cat go', effects: none}, after: {run: 'touch after', needs: [wait], effects: none}}"
    project.write("slow.yaml", f"ares: v1\nname: slow\nsteps: {steps}\n")
    ours, theirs = pty.openpty()
    with a_terminal_that_may_hang_up():
        process = subprocess.Popen(
            [sys.executable, "-m", "runner", *argv], cwd=project.root, env={**environment(), "TERM": "xterm"},
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
    os.close(theirs)
    begun(project)
    while select.select([ours], [], [], 0)[0]:  # what it has drawn must not be what it waits for
        os.read(ours, 65536)
    os.close(ours)
    while process.poll() is None and os.readlink(f"/proc/{process.pid}/fd/2") != os.devnull:
        os.sched_yield()  # until it was told, has tried to say so, and knows that nobody reads any more
    let_go(project)
    assert process.wait(30) == 129
    assert not (project.root / "after").exists()
    assert project.cli("status", "--json").json["runs"][0]["state"] == "interrupted"
