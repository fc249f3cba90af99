"""Rows as read become rows as written: types, formats, lookups, splits and duplicates."""
