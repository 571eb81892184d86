"""How the process of a command ends."""

import atexit
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

UNFLUSHED = 120
"""What Python itself ends with where its last output went nowhere."""


@contextmanager
def own_process() -> Generator[None]:
    """The block is all that this process does; it ends with the block's status, the interpreter left whole.

    Threads that Python did not start, those of the object store, go on until the process is gone. They let go
    of Python a moment after they have answered; where it is being taken apart meanwhile, Python up to 3.13
    ends them, which they take for a crash, and the process would abort. So all is done that Python does at
    its end (threads are awaited, what was registered is called, output is written), but that.
    """
    status = 0

    def leave() -> None:
        logging.shutdown()  # the only one that registered before this did
        os._exit(status if _flushed() else status or UNFLUSHED)

    atexit.register(leave)  # those that register later are called before it
    try:
        yield
    except SystemExit as ending:
        # Python says what is neither a number nor nothing, and ends with 1.
        status = ending.code & 0xFF if isinstance(ending.code, int) else int(ending.code is not None)
        raise
    except BaseException:
        status = 1
        raise


def _flushed() -> bool:
    whole = True
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # a process may have been started without
            try:
                stream.flush()
            except (OSError, ValueError):
                whole = False
    for stream in (sys.__stdout__, sys.__stderr__):  # those that others were put in place of
        if stream is not None and not stream.closed:
            with suppress(OSError):
                stream.flush()
    return whole
