"""The command line: one file a verb in `commands`, a literal registry, one error border. No decisions live here."""
