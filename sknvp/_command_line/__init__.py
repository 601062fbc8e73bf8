"""The command line: a density is fitted to a CSV file, kept, and asked for scores, draws and odd rows."""
