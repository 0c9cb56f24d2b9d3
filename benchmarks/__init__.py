"""Measurements, next to targets and peers of the same run; never part of the tests."""
