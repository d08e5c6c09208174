"""Whole runs of both plugins while everything around them goes wrong, counted and repeatable."""
