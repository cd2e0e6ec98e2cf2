"""The float32 ONNX graph: written, trimmed, saved and run."""
