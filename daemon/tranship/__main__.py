"""`python -m tranship` is `tranship`."""

from tranship.cli import main

main()
