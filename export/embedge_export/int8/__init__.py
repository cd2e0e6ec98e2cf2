"""Int8 quantisation of a float32 graph: calibrate, smooth (SmoothQuant), quantise the weights (GPTQ) and the rows."""
