from __future__ import annotations

import sys
from pathlib import Path

# The fakes are shared with a script that runs in a process of its own.
sys.path.insert(0, str(Path(__file__).parent))
