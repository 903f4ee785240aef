"""Networks of Keras 3 layers."""
