"""What makes the paper run: its data, networks, measurements, trainings and notebooks.

Imports point one way: publishing -> pipeline -> studies -> training, measures, figures -> models, data -> fetching -> core.
A study (a folder of `studies`) imports no other; what a second one needs moves to its shared kind.
"""
