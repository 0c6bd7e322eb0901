"""Networks as ONNX files and back; the package ``onnx`` is imported when one is written or read."""
