"""Reading of files that others may have made, and checks of who may change them."""
