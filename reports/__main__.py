# PYTHON_ARGCOMPLETE_OK
"""All commands of the project: `python -m reports` lists what `python -m pipeline` lists."""

import sys

from pipeline.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
