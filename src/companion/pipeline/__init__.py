"""From params.yaml to runs/: settings, stages, the execution of notebooks."""
