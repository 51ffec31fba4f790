"""`python -m cyclegan` is the `cyclegan` command (and what torchrun starts)."""

import sys

from cyclegan.cli.main import main

sys.exit(main())
