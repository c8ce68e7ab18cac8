"""The command `mtad`."""

import os

# aiohttp's list type in C brings a C++ library that nothing else needs, a megabyte, and is used at the start alone.
os.environ.setdefault("FROZENLIST_NO_EXTENSIONS", "1")

from mtad.cli.main import main

if __name__ == "__main__":
    main()
