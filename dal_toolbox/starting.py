"""Imported first by the mains: on a terminal, says what the seconds before the first line go into."""

import sys

if sys.stderr.isatty():
    print("importing torch and what builds on it …", file=sys.stderr, flush=True)
