"""`python -m leopart` is `leopart`."""

import sys

from leopart.cli.main import main

sys.exit(main())
