"""The errors a user can mend: one sentence each, shown without a traceback."""


class ClipError(Exception):
    """Something is wrong with a clip, its files or its settings.

    The message names the clip, the column or file, what is wrong and how to mend it. Another
    attempt would meet the same, so there is none.
    """


class MachineError(ClipError):
    """Something went wrong on the machine, or beyond it: another attempt may go well."""


class MemoryShort(ClipError):
    """Too little memory is free, for a process that holds nothing yet, or for this one."""


class HostMemoryShort(MemoryShort, MachineError):
    """Too little of the host's memory is free, which may change."""
