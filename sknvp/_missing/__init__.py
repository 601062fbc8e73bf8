"""Cells that are unknown: proposals for them, given the known ones."""
