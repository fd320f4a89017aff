"""Runs that do not happen: the real kernels over a record in memory, under a virtual clock, with simulated executors and people.

Pure: no disk, no process, no socket, no real clock; randomness is a seed. What a config and a manifest say comes in as values.
"""
