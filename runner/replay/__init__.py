"""Record and replay: what executors were asked and answered, kept as YAML, and given again without them.

Here: the wrapper at the `Executor` seam, what identifies a request, and the form of recordings. Not here: suites, cases and what is
expected of them (api/testing.py), and how a manifest is run (engine)."""
