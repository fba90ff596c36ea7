"""`python -m flowrepro`."""

import signal

# until `main` listens, Ctrl-C ends the process without a traceback
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from flowrepro.cli import entry

if __name__ == "__main__":
    entry()
