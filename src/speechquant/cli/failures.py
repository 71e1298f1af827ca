"""Whatever goes wrong, the user reads one line and the shell gets a code."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from speechquant.errors import SpeechquantError

__all__ = ["Commands"]

_USER_ERROR, _OWN_FAULT, _INTERRUPTED = 2, 1, 130


class Commands(TyperGroup):
    """Runs a command; its failures become one line on stderr, unless `--debug` asks for tracebacks."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that `ctx` names."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            typer.echo("interrupted; run the same command again to go on", err=True)
            raise typer.Exit(_INTERRUPTED) from None
        except BrokenPipeError:
            # The reader (`| head`) has gone; Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_OWN_FAULT) from None
        except (SpeechquantError, OSError, MemoryError) as error:
            _tell(ctx, error, _line(error))
            raise typer.Exit(_USER_ERROR) from None
        except Exception as error:  # a fault of ours, or of a library, still must not show a traceback
            if isinstance(error, typer.Abort) or hasattr(error, "exit_code"):  # typer's own way to end
                raise
            _tell(ctx, error, f"unexpected {type(error).__name__}: {_line(error)}; --debug shows where")
            raise typer.Exit(_OWN_FAULT) from None
        return result


def _tell(ctx: Any, error: BaseException, line: str) -> None:
    if ctx.params.get("debug"):
        raise error
    from speechquant.jobs.printable import printable

    typer.secho("error:", fg=typer.colors.RED, err=True, nl=False)
    typer.echo(f" {printable(line)}", err=True)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "not enough memory; close other programs or use a smaller model"
    if isinstance(error, OSError) and not isinstance(error, SpeechquantError):
        place = f"{error.filename}: " if error.filename else ""
        full = "; free some space" if error.errno == errno.ENOSPC else ""
        return f"{place}{error.strerror or text}{full}"
    return text or type(error).__name__
