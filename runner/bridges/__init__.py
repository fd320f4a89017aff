"""MCP servers that ship with the runner, each a program of its own that any MCP client can start."""
