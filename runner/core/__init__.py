"""The pure core: graph, compile passes, plan, kernel. No I/O, no clock, no logging, no asyncio."""
