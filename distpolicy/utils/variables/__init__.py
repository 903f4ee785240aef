"""Helpers to create variables, to find them in modules and SavedModels, and to watch their updates."""
