"""From states to TFMD's protos and the page."""
