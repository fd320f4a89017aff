"""Drives runs: turns of kernels, attempts, checks, and the world that preparing a step asks. Knows ports, not adapters."""
