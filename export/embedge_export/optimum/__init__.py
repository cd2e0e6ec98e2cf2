"""The optimum extra: trace a reference graph, and export architectures that the native exporter lacks."""
