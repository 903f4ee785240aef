"""Variables: making them, finding them in modules and SavedModels, watching updates."""
