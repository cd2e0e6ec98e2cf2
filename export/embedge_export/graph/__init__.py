"""The float32 ONNX graph of a checkpoint: build it, prune it, convert it to float16, write it and run it."""
