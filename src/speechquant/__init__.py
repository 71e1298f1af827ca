"""Small, fast speech foundation models with the word error rate proven."""

from __future__ import annotations

__version__ = "0.1.0"
