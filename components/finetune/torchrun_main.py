"""Runs torchrun without its long log for failed processes: `python -m components.finetune.torchrun_main TORCHRUN_ARGUMENTS`.

https://docs.pytorch.org/docs/stable/elastic/run.html
"""

import logging
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run


def main() -> None:
    """Run torchrun. Each process reports its own errors; for one killed by a signal this reports the signal."""
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        run(parse_args(sys.argv[1:]))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            print(f"process {rank} was ended by signal {-failure.exitcode}", file=sys.stderr)
        sys.exit(1)
    except SignalException as error:
        sys.exit(128 + error.sigval)


if __name__ == "__main__":
    main()
