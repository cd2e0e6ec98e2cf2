"""What the optimum extra does: the traced reference graph, and the exporter for other architectures."""
