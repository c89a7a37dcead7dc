"""`python -m stages`: stages/command.py, in a fork of a warm worker if there is one."""

import sys

from stages.warm import run_warm

if __name__ == "__main__":
    try:
        code = run_warm("stages.command", sys.argv[1:])
    except KeyboardInterrupt:  # before the worker had answered
        print("interrupted.", file=sys.stderr)
        sys.exit(130)
    if code is None:
        from stages.command import main

        code = main()
    sys.exit(code)
