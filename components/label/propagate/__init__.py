"""Labels spread over a graph of near rows: features, the graph, its solution, calibration, and a coreset of large data."""
