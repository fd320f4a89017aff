"""Manifests from a template and rows."""
