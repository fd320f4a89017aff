"""Manifests from a template and rows of data.

`rows` reads the data, `template` renders with marks in place of values, `places` says what the manifest language does with each
place, `fill` writes the values into their scalars, `index` decides which files change. Pure: files are read and written by
`runner.api.generating`.
"""
