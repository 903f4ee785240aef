"""The commands: a file for each, or for a few that belong together, with its arguments, their parser and what runs."""
