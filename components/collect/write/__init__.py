"""Rows become shards, and what is counted on the way."""
