"""Adapters that do a call: commands in `local`, tools in `mcp`, agents in `agent`. Which verb has which is in `runner.api.late`."""
