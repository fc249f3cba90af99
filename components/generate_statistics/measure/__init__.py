"""Rows in, states out: what runs on workers."""
