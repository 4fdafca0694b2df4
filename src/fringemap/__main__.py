"""``python -m fringemap``."""

from fringemap.cli import main

main()
