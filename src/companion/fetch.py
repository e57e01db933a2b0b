"""The command `python -m companion.fetch [NAMES] [--mirror FOLDER]`: the project's inputs (companion.fetching.fetch)."""

from companion.fetching.fetch import main

if __name__ == "__main__":
    main()
