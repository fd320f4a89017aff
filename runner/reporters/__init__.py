"""Reporters see recorded events and decide nothing: lines, JSON lines, a live tree, the last word."""
