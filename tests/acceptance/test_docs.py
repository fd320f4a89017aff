"""The documentation says what is true: its YAML is read, its links lead somewhere, its tables are complete, its promises have tests."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from project import ROOT, document, environment, runner, small_project
from reference import PAGES, PLACE, filled, objects

from runner.api.load import load
from runner.api.settings import Settings, load_config
from runner.manifest.checked import check
from runner.manifest.suite import Suite
from runner.syntax import read

MARKDOWN = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCK = re.compile(r"^```yaml(?P<kind>.*)\n(?P<text>(?:.*\n)*?)^```$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://)([^)\s#]*)(?:#([^)\s]*))?\)")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
TEST = re.compile(r"\[`(test_\w+)`\]\((\.\./tests/[\w/]+\.py)\)")
BLOCKS = [
    pytest.param(
        found["kind"].strip(),
        found["text"],
        id=f"{page.relative_to(ROOT)}:{page.read_text()[: found.start()].count(chr(10)) + 1}",
    )
    for page in MARKDOWN
    for found in BLOCK.finditer(page.read_text())
]


def settings_in(folder: Path) -> Settings:
    return load_config(None, start=folder, env={})


def errors(text: str, folder: Path) -> list[str]:
    """What `runner validate` would refuse in a manifest."""
    file = folder / "manifest.yaml"
    file.write_text(text)
    found = load([file], settings_in(folder)).diagnostics
    return [f"{one.span}: {one.rule}: {one.message}" for one in found if one.severity == "error"]


@pytest.mark.parametrize(("kind", "text"), BLOCKS)
def test_every_yaml_block_is_what_it_says(kind: str, text: str, tmp_path: Path) -> None:
    """```yaml manifest · ```yaml steps: what stands under `steps` · ```yaml config · ```yaml suite · ```yaml bad: a manifest with mistakes."""
    match kind:
        case "manifest":
            assert errors(text, tmp_path) == []
        case "steps":
            steps = "".join(f"  {line}" for line in text.splitlines(keepends=True))
            assert errors(f"ares: v1\nname: fragment\nsteps:\n{steps}", tmp_path) == []
        case "bad":
            assert errors(text, tmp_path)
        case "suite":
            documents, found = read(text.encode(), "suite.yaml")
            assert [str(one) for one in (*found, *check(Suite, documents[0].data)[1])] == []
        case "config":
            (tmp_path / "config.yaml").write_text(text)
            assert [str(one) for one in settings_in(tmp_path).diagnostics] == []
        case _:
            pytest.fail("say what it is: ```yaml manifest, steps, config, suite or bad")


def test_there_are_blocks_of_each_kind() -> None:
    assert {str(block.values[0]) for block in BLOCKS} == {"manifest", "steps", "config", "suite", "bad"}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_something(page: Path) -> None:
    missing = []
    for path, anchor in LINK.findall(CODE.sub("", page.read_text())):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(f"{path}#{anchor}")
    assert missing == []


def test_the_walk_through_the_architecture_meets_every_package() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    packages = {path.parent.name for path in (ROOT / "runner").glob("*/__init__.py")}
    assert {name for name in packages if f"../runner/{name}/" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_of_keys_are_what_the_models_give(page: Path) -> None:
    assert page.read_text() == filled(page.read_text()), "run: python tests/acceptance/regenerate.py"


@pytest.mark.parametrize(("document_name", "page"), [("manifest", PAGES[0]), ("config", PAGES[1])])
def test_every_kind_of_map_and_every_key_has_its_place_in_the_reference(document_name: str, page: Path) -> None:
    text = page.read_text()
    assert {found[2] for found in PLACE.finditer(text)} == {document_name}
    tables = {found[3]: found[0] for found in PLACE.finditer(text)}
    assert set(tables) == set(objects(document_name))
    for name, part in objects(document_name).items():
        assert [key for key in part["properties"] if f"| `{key}` |" not in tables[name]] == []


def test_every_promise_is_listed_with_tests_that_exist_or_the_issue_that_it_comes_with() -> None:
    page = ROOT / "docs" / "promises.md"
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", page.read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 23))
    for number, shown in rows:
        tests = TEST.findall(shown)
        assert tests or shown.startswith("comes with *"), number
        for name, file in tests:
            assert re.search(rf"^(async )?def {name}\(", (page.parent / file).read_text(), re.MULTILINE), (
                f"{number}: {name} in {file}"
            )


def test_any_exception_is_caught_only_where_a_decision_says_so_and_with_a_reason() -> None:
    decision = (ROOT / "docs" / "decisions" / "0021-where-any-exception-may-be-caught.md").read_text()
    said = re.findall(r"`(runner/\S+\.py)`", decision)
    caught = re.compile(r"# noqa: BLE001(?P<reason>.*)")
    found = {
        str(path.relative_to(ROOT)): [each["reason"].strip() for each in caught.finditer(path.read_text())]
        for path in sorted((ROOT / "runner").rglob("*.py"))
    }
    places = {path: reasons for path, reasons in found.items() if reasons}
    assert sorted(said) == sorted(places)
    assert all(all(reasons) for reasons in places.values()), places


def test_a_module_of_named_tuples_puts_no_annotations_off() -> None:
    """As texts they would be compiled one by one, at every start (docs/architecture.md)."""
    texts = {path: path.read_text() for path in (ROOT / "runner").rglob("*.py")}
    found = [path for path, text in texts.items() if "(NamedTuple)" in text and "import annotations" in text]
    assert [str(path.relative_to(ROOT)) for path in found] == []


def test_every_dependency_has_a_row_and_every_row_is_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[<>=~!\[ ]", need, maxsplit=1)[0] for need in needed}
    rows = set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE))
    assert rows == names


WATCHED = """
import sys
seen = []
def hook(event, args):
    if event.startswith(("subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "socket.")):
        seen.append(event)
sys.addaudithook(hook)
from runner.cli.main import run
code = run(sys.argv[1:])
sys.stdout = sys.stderr
print("seen", seen)
sys.exit(code if not seen else 99)
"""


@pytest.mark.parametrize("verb", ["validate", "plan"])
def test_validate_and_plan_start_no_process_and_open_no_socket(verb: str, tmp_path: Path) -> None:
    project = small_project(tmp_path)
    (project / "config.yaml").write_bytes((ROOT / "config.yaml.example").read_bytes())
    done = subprocess.run(
        [sys.executable, "-P", "-c", WATCHED, verb, "manifests"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not (project / ".ares").exists()


def test_a_secret_is_in_no_file_and_no_output_of_a_run(tmp_path: Path) -> None:
    secret = "correct-horse/battery+staple"
    (tmp_path / "config.yaml").write_text('secrets: {TOKEN: "${TOKEN}"}\n')
    (tmp_path / "leaky.yaml").write_text(
        "ares: v1\nname: leaky\nsteps:\n"
        '  say: {run: \'echo "$T"; echo "$T" >&2; printf %s "$T" | base64\', env: {T: "{{ secrets.TOKEN }}"}, effects: none}\n'
        '  fail: {run: \'echo "$T" >&2; exit 1\', env: {T: "{{ secrets.TOKEN }}"}, effects: none}\n'
        '  again: {run: [echo, "{{ steps.say.text }}"], effects: none, save: out.txt}\n'
    )
    env = environment(TOKEN=secret)
    texts = []
    for args in (
        ["apply", "leaky.yaml", "--events"],
        ["show", "leaky", "--json"],
        ["logs", "leaky"],
        ["status", "--json"],
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "runner", *args], cwd=tmp_path, env=env, capture_output=True, timeout=60
        )
        assert done.returncode in (0, 1), done.stderr
        texts += [done.stdout, done.stderr]
    files = [Path(folder) / name for folder, _, names in os.walk(tmp_path) for name in names]
    assert {"state.db", "out.txt"} <= {file.name for file in files}

    whole = b"".join([*texts, *(file.read_bytes() for file in files)])

    assert b"***" in whole
    for form in (
        secret.encode(),
        base64.b64encode(secret.encode()),
        secret.replace("/", "%2F").replace("+", "%2B").encode(),
    ):
        assert form not in whole


def test_status_show_logs_and_graph_read_what_the_quickstart_left(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    assert runner("apply", "manifests/quickstart/flaky.yaml", cwd=project).returncode == 0
    assert [run["manifest"] for run in document("status", "--json", cwd=project)["runs"]] == ["flaky"]
    assert "mirror.example" in runner("logs", "flaky", cwd=project).stdout
    assert "mirror" in runner("graph", "manifests/quickstart/flaky.yaml", "--format", "mermaid", cwd=project).stdout
