"""What makes the paper run: its data, models and settings, and the runner that executes the notebooks."""
