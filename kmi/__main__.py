"""``python -m kmi``."""

import sys

from kmi.cli import main

if __name__ == "__main__":
    sys.exit(main())
