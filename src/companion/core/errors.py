"""The one exception a reader is meant to read."""


class Refusal(Exception):
    """Something is wrong that the reader can mend: the text is one clear sentence, commands show no traceback."""
