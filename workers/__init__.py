"""Where policies run: plain classes, made Ray actors in ``workers.actors``."""
