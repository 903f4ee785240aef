"""What is configured: frozen dataclasses, their YAML, and the presets."""
