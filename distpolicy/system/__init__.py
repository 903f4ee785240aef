"""Functions that programs call around their main function."""
