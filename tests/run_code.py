"""`python -c` for code that may run in a fork of the fork server (tests/fork_client.py): python -m tests.run_code CODE ARGUMENT …"""

import sys

if __name__ == "__main__":
    code = sys.argv.pop(1)
    sys.argv[0] = "-c"
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
