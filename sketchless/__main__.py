"""`python -m sketchless`: the command. The folder has no `__init__.py`, as `sketchless` is a namespace."""

import sys

from sketchless.benchmarks.cli import main

sys.exit(main())
