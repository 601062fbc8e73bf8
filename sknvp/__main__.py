"""The command line: ``python -m sknvp``."""

import sys

from ._command_line.commands import main

sys.exit(main())
