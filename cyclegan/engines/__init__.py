"""What computes a generator: torch, ONNX Runtime or OpenVINO, and the files that the latter two run."""
