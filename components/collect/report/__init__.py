"""Findings for the manifest, and the page."""
