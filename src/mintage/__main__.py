"""``python -m mintage``: the command line."""

import sys

from mintage.surfaces.cli import main

sys.exit(main())
