"""Timing of callables: samples, intervals, scenarios. It knows no model and no engine.

Times are integers of nanoseconds from a monotonic clock, which callers may replace; functions say where they
mean seconds or milliseconds.
"""
