"""Exports of policies as programs that run without distpolicy: for LiteRT, ONNX Runtime and TensorFlow."""
