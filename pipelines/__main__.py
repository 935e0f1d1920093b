"""`python -m pipelines` is `mynah`."""

from pipelines.cli import main

main()
