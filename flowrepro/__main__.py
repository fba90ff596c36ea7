"""`python -m flowrepro`."""

from flowrepro.cli import entry

if __name__ == "__main__":
    entry()
