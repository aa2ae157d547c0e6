"""Folder runs: which files there are, what became of each, how a killed run goes on, how a run ends."""
