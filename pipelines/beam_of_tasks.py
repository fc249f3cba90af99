"""Imported by the server that tasks are forked from: Beam as they need it, which are processes of our own."""

from headwater.components.common import local_beam

local_beam.claim_process()
local_beam.graph(())
