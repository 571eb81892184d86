"""`python -m visiona`: the same as the `visiona` command."""

from visiona.entrypoints.cli import main

main()
