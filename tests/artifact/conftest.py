from __future__ import annotations

import sys
from pathlib import Path

# The fake artifact is shared with the tests of jobs and commands.
sys.path.insert(0, str(Path(__file__).parent))
