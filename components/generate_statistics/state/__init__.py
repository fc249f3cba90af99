"""The mergeable state of statistics, its parts and its file."""
