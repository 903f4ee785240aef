"""``python -m launch`` is ``distpolicy``."""

from launch.cli import main

main()
