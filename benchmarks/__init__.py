"""Lamina against its peers on this machine: ``python -m benchmarks`` writes docs/BENCHMARKS.md."""
