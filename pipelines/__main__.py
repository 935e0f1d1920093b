"""`python -m pipelines` is `mynah`."""

from pipelines.cli.main import main

main()
