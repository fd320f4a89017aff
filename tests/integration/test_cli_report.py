"""`runner report RUN --html`: a real run, as a page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from cli_project import HELLO, Project

RICH = """
ares: v1
name: rich
description: Everything that a page shows
inputs: {who: {type: string, default: Ada}}
steps:
  twice:
    run: 'echo "try <b>$WHO</b>" >&2; if [ -e "$ARES_RUN_DIR/x" ]; then printf "out \\033[1m \\000 \\342\\200\\256 </pre><script>x</script>"; else touch "$ARES_RUN_DIR/x"; exit 9; fi'
    env: {WHO: "{{ inputs.who }}"}
    effects: idempotent
    checks: [{expr: "'out' in text"}]
    faults: {retry: {max: 1, delay: 10ms, errors: [tool_error]}}
  other:
    run: [sh, -c, "exit 4"]
    effects: idempotent
    fallback: [{run: [echo, from the copy], effects: idempotent}]
  fan: {foreach: {in: [3, 4, 5], key: "n{{ item }}"}, join: settled, run: [test, "{{ item }}", "-lt", "5"], effects: none}
  long: {run: 'seq 30000', effects: none}
  inner: {call: part, with: {word: "{{ steps.other.text }}"}}
  gate: {approve: "Go on, {{ inputs.who }}?", needs: [twice, inner], show: ["{{ steps.twice.text }}"]}
  last: {run: [echo, done], needs: [gate], effects: none}
outputs: {said: "{{ steps.last.text }}"}
---
ares: v1
name: part
inputs: {word: string}
steps: {say: {run: [echo, "inside {{ inputs.word }}"], effects: none}}
outputs: {said: "{{ steps.say.text }}"}
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


def said(page: str) -> str:
    """What a page says, without its style and script."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return unescape(re.sub("<[^>]*>", " ", body))


@pytest.fixture
def rich(project: Project) -> Project:
    project.write("rich.yaml", RICH)
    assert project.cli("apply", "rich.yaml", "-q").code == 3
    return project


def test_the_page_shows_who_did_what_how_often_and_why(rich: Project) -> None:
    done = rich.cli("report", "rich", "--html", "page.html")
    assert (done.code, done.out, done.err) == (0, "", "wrote page.html\n")
    page = (rich.root / "page.html").read_text()
    told = re.sub(r"\s+", " ", said(page))
    for words in (
        "rich suspended", "Everything that a page shows", "2 attempts", "failed · tool_error", "exit code 9",
        "expr: 'out' in text", "try <b>Ada</b>", "from the copy", "fallback 1", "3 items: 2 succeeded, 1 failed",
        "n5", "Go on, Ada?", "runner approve", "part succeeded", "inside from the copy", "characters more: cut after this", "$0 spent in 10 attempts",
    ):  # fmt: skip
        assert words in told, words
    assert re.search(r"again in \d+ms: round 1 of 1: tool_error", told)  # a delay is never the same twice
    assert "out \\x1b [1m \\x00 \\u202e </pre><script>x</script>" in told
    assert "<script>x" not in page and "\x1b" not in page and "\0" not in page


def test_a_run_that_was_answered_and_went_on_is_told_in_full(rich: Project) -> None:
    rich.cli("approve", "rich", "gate", "--as", "Eve <e>", "--comment", "fine & good")
    assert rich.cli("apply", "rich.yaml", "-q").code == 0
    told = re.sub(r"\s+", " ", said(rich.cli("report", "rich", "--html", "-").out))
    assert "rich succeeded" in told
    assert "answer approved by Eve <e>: fine & good" in told
    assert "suspended for" in told
    assert "said done" in told
    assert "What to look at" in told  # an item failed, although that was allowed


def test_what_is_on_stdout_is_the_page_and_nothing_else(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    project.cli("apply", "hello.yaml", "-q")
    done = project.cli("report", "hello", "--html", "-")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("<!doctype html>") and done.out.endswith("</html>\n")


def test_a_sub_run_has_a_page_of_its_own(rich: Project) -> None:
    told = said(rich.cli("report", "rich", "--html", "-").out)
    [child] = set(re.findall(r"[0-9a-f]{10}\.inner", told))
    assert "part of" in said(rich.cli("report", child, "--html", "-").out)


def test_a_page_of_nothing_or_to_nowhere_is_refused(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    project.cli("apply", "hello.yaml", "-q")
    for argv, words in (
        (("nothing", "--html", "x.html"), "no run 'nothing'"),
        (("hello", "--html", "none/x.html"), "no file can be written there"),
        (("hello", "--html", "."), "no file can be written there"),
        (("hello",), "missing option '--html'"),
    ):
        done = project.cli("report", *argv)
        assert (done.code, done.out) == (2, "")
        assert words in done.err
    assert not (project.root / "x.html").exists()


def test_a_secret_is_on_no_page(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "correct-horse/battery+staple")
    project.write("config.yaml", 'secrets: {TOKEN: "${TOKEN}"}\n')
    project.write(
        "leaky.yaml",
        "ares: v1\nname: leaky\nsteps:\n"
        '  say: {run: \'echo "$T"; echo "$T" >&2\', env: {T: "{{ secrets.TOKEN }}"}, effects: none}\n'
        '  die: {run: \'echo "$T" >&2; exit 1\', env: {T: "{{ secrets.TOKEN }}"}, effects: none}\n',
    )
    assert project.cli("apply", "leaky.yaml", "-q").code == 1
    page = project.cli("report", "leaky", "--html", "-").out
    assert "***" in page and "battery" not in page


def test_a_run_without_its_logs_has_a_page(rich: Project) -> None:
    shutil.rmtree(rich.root / ".ares" / "logs")
    assert rich.cli("report", "rich", "--html", "-").code == 0


WIDE = f"""
ares: v1
name: wide-{"n" * 58}
description: {"W" * 2_000}
inputs: {{who: {{type: string, default: "שלום {"Q" * 500} مرحبا"}}}}
steps:
  {"s" * 63}: {{run: [printf, "%s", {"W" * 900}], effects: none}}
  caps: {{run: [echo, MMMM WWWW MMMM], needs: [{"s" * 63}], effects: none}}
  fan: {{foreach: {{in: [{"i" * 190}, b], key: "{{{{ item }}}}"}}, run: [echo, "{{{{ item }}}}"], effects: none}}
  boom: {{run: [sh, -c, "printf %s {"E" * 900} >&2; exit 5"], effects: none}}
outputs: {{{"o" * 60}: "{{{{ steps.caps.text }}}}"}}
"""

MEASURE = """
document.querySelectorAll('details').forEach(one => one.open = true);
const beside = (a, b) => a.getBoundingClientRect().bottom > b.getBoundingClientRect().top + 5;
const cut = [...document.querySelectorAll('.ares .step svg')].filter(box =>
  [...box.querySelectorAll('text')].some(text => { const r = text.getBBox(); return r.x + r.width > box.width.baseVal.value }));
const apart = [...document.querySelectorAll('summary .name')].filter(name => {
  const sign = name.parentElement.querySelector('.sign'); return sign && !beside(sign, name) });
document.body.dataset.found = JSON.stringify(
  {sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth, cut: cut.length, apart: apart.length});
"""


def browse(page: Path, profile: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """The document of `page` as Chromium shows it, on stdout."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}", "--enable-logging=stderr", *more,
    ]  # fmt: skip
    return subprocess.run([browser, *flags, "--dump-dom", f"file://{page}"], capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_a_browser_lets_our_style_and_script_work_and_complains_of_nothing(rich: Project, tmp_path: Path) -> None:
    rich.cli("report", "rich", "--html", "page.html")
    done = browse(rich.root / "page.html", tmp_path / "profile")
    assert '<div class="tools">' in done.stdout  # the script took away `hidden`
    assert "Content Security Policy" not in done.stderr and "CONSOLE" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 500], ids=["desktop", "phone"])
def test_no_text_makes_a_page_wider_than_its_window_or_is_cut_off(project: Project, tmp_path: Path, width: int) -> None:
    project.write("wide.yaml", WIDE)
    assert project.cli("apply", "wide.yaml", "-q").code == 1
    page = project.cli("report", WIDE.split()[3], "--html", "-").out
    measured = re.sub("<meta http-equiv=[^>]*>", "", page).replace("</body>", f"<script>{MEASURE}</script></body>")
    (tmp_path / "measured.html").write_text(measured)
    shown = browse(tmp_path / "measured.html", tmp_path / "profile", f"--window-size={width},900").stdout
    [found] = re.findall('data-found="([^"]*)"', shown)
    assert json.loads(unescape(found)) == {"sideways": 0, "cut": 0, "apart": 0}
