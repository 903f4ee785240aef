"""How a run is put together: configuration, driver, checkpoints, command line."""
