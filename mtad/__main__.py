"""The command `mtad`."""

from mtad.cli.main import main

if __name__ == "__main__":
    main()
