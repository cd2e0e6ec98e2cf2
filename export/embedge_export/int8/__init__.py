"""Int8 quantisation: calibrate, smooth, quantise."""
