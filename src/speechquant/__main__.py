"""`python -m speechquant` is the command `speechquant`."""

from speechquant.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
