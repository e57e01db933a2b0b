"""The command `python -m companion.train`: one run from a seed to a record (companion.training.train)."""

from companion.training.train import main

if __name__ == "__main__":
    main()
