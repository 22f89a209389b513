"""The errors a user can mend: one sentence each, shown without a traceback."""


class ClipError(Exception):
    """Something is wrong with a clip, its files or its settings.

    The message names the clip, the column or file, what is wrong and how to mend it.
    """
