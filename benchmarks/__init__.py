"""Measure the tap against its peers: ``make bench``."""
