"""What `runner init` writes."""

from __future__ import annotations

from collections.abc import Mapping

CONFIG = """\
# yaml-language-server: $schema=schemas/v1/config.schema.json
#
# Every key has a default, so this file may stay as it is. `runner config show --origin` prints what holds and why;
# config.yaml.example of the project describes every key.

concurrency: {runs: 4, steps: 16}       # manifests at once; running steps of one run
state: {path: .ares/state.db}           # what has been done: never committed, see .gitignore

# Programs that give tools (MCP servers). `workspace` (list_files, read_file, write_file, search) is bundled and always there.
# mcp_servers:
#   git: {command: uvx, args: [mcp-server-git]}

# What manifests may name as secrets.NAME: references to the environment, never values.
# secrets: {GITHUB_TOKEN: "${GITHUB_TOKEN}"}
"""

HELLO = """\
# yaml-language-server: $schema=../schemas/v1/manifest.schema.json
#
#   runner plan manifests/      what would happen, and why
#   runner apply manifests/     do it; again: nothing to do
ares: v1
name: hello
description: A first manifest; greets, and keeps what it said
inputs:
  who: {type: string, default: world, description: Who is greeted}
steps:
  greet:
    run: [echo, "Hello, {{ inputs.who }}!"]
    save: hello.txt
    effects: none                       # may be repeated after a crash
  words:
    set: {count: "{{ steps.greet.text | length }}"}
outputs:
  greeting: "{{ steps.greet.text }}"
  characters: "{{ steps.words.output.count }}"
"""

FILES: Mapping[str, str] = {"config.yaml": CONFIG, "manifests/hello.yaml": HELLO}
SCHEMAS = ("config", "manifest")
"""Those that the first lines of these files name, so that editors complete and check."""

IGNORED = ".ares/"
