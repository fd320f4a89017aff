"""The record: `sqlite.SqliteStore`, its twin `memory.MemoryStore`, and `owners.this_process`. Import those modules."""
