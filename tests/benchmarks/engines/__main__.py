"""`python -m tests.benchmarks.engines [--llama-server PATH] [--rounds N]`: Mynah's server beside llama.cpp's and transformers'.

`python -m tests.benchmarks.engines offline` compares engines without HTTP instead. What is not installed is left out, with a line.
"""

import argparse
import os
import shutil

from tests.benchmarks.engines import offline, servers


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.engines", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("servers", "offline"), default="servers")
    parser.add_argument(
        "--llama-server",
        default=os.environ.get("LLAMA_SERVER") or shutil.which("llama-server") or "",
        help="llama.cpp's server; LLAMA_SERVER, or what PATH has, unless told",
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if options.what == "offline":
        offline.main()
    else:
        servers.compare(options.llama_server, options.rounds)


if __name__ == "__main__":
    main()
