"""Weak supervision: labelling functions, the tally of their votes, and the label model: what it is and how it is fitted."""
