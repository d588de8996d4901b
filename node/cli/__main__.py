"""`python -m node.cli`: the same as the command `waggle`."""

from node.cli.main import main

main()
