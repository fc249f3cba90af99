"""Labelling functions as a Snorkel user has them, for an environment that has Snorkel."""

from snorkel.labeling import labeling_function

FINE, LATE, ABSTAIN = 0, 1, -1


@labeling_function()
def windy(row):
    return LATE if row.wind > 1 else FINE if row.wind < 0.5 else ABSTAIN


@labeling_function(resources={"least": 0.8})
def far(row, least):
    return LATE if row.far > least else ABSTAIN


@labeling_function()
def near(row):
    return FINE if row.far < 0.2 else ABSTAIN


@labeling_function()
def said(row):
    return LATE if isinstance(row.said, str) and "wind" in row.said else ABSTAIN
