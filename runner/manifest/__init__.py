"""Pydantic models of manifests and config: frozen, nothing extra, their docstrings are the documentation of the schemas."""
