"""Measurement of what the timing model needs to know of the RTL."""
