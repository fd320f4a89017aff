"""`runner mcp`: this runner as an MCP server over stdio, so that an agent can check, submit and watch manifests.

`serving` is the process, `office` what opens behind it, `border` where errors become answers, `catalog` the tools as clients see them,
`policy` what the operator lets them do. Each tool is a function `(desk, given, call) -> Reply` over the same API that the command line
uses. Not here: the protocol (`runner.bridges.stdio`)."""
