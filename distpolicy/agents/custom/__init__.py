"""An agent of the user's own."""
