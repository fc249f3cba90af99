"""Active learning: which rows to ask people about, so that few answers teach a model most."""
