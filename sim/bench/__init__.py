"""Timing of the engines and of their peers."""
