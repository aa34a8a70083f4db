"""``python -m unlikelihood``: the command line."""

import sys

from unlikelihood.cli.main import main

sys.exit(main())
