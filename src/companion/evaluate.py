"""The command `python -m companion.evaluate FOLDERS`: records of finished runs (companion.training.record_run)."""

from companion.training.record_run import main

if __name__ == "__main__":
    main()
