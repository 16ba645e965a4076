"""``python -m mintage``: the command line."""

from mintage.surfaces.cli import main

if __name__ == "__main__":
    main()
