"""The command line: each command parses, calls a job, and prints."""

from __future__ import annotations

from speechquant.cli.app import app, main

__all__ = ["app", "main"]
