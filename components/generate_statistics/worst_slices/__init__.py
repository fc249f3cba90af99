"""The slices of the data where errors cost most."""
