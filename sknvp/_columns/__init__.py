"""Columns of a table that are not continuous: their kinds, their margins and the cells that their values own."""
