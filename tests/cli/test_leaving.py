"""How a command's process ends: as Python would end it, but that no thread is caught in between."""

import subprocess
import sys
import textwrap

import pytest

# The object store's thread hands over its answer, and comes back to Python only after its end has begun.
LATE_THREAD = """
    import asyncio, sys, time, obstore

    class Loop(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, *arguments, **options):
            handle = super().call_soon_threadsafe(*arguments, **options)
            time.sleep(0.2)
            return handle

    class LongEnd:
        def __del__(self, sleep=time.sleep):
            sleep(0.5)

    sys.long_end = LongEnd()

    async def work():
        await obstore.put_async(obstore.store.MemoryStore(), "key", b"bytes")

    def command():
        asyncio.Runner(loop_factory=Loop).run(work())
        print("done")
"""


def ended(command: str, *, as_command: bool = True) -> subprocess.CompletedProcess[str]:
    """A process that does what the function `command` of this code does, as commands do."""
    start = "with own_process():\n    command()" if as_command else "command()"
    code = f"from visiona.entrypoints.cli.leaving import own_process\n{textwrap.dedent(command)}\n{start}\n"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )


def test_a_thread_that_is_late_does_not_abort_the_process() -> None:
    ran = ended(LATE_THREAD)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "done\n", "")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python lets such threads be since 3.14")
def test_it_would_abort_otherwise() -> None:
    assert ended(LATE_THREAD, as_command=False).returncode < 0


@pytest.mark.parametrize(
    ("ending", "status", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(5)", 5, ""),
        ("sys.exit(-1)", 255, ""),
        ("sys.exit('Nothing there.')", 1, "Nothing there."),
        ("raise ValueError('broken')", 1, "ValueError: broken"),
        ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
        ("threading.Thread(target=lambda: (time.sleep(0.2), print('later'))).start()", 0, ""),
        ("atexit.register(print, 'at the end')", 0, ""),
        ("sys.stdout = open('/dev/full', 'w'); print('lost')", 120, ""),
        ("sys.stdout.close()", 120, ""),
    ],
)
def test_everything_else_is_as_python_ends_it(ending: str, status: int, said: str) -> None:
    command = f"import atexit, sys, threading, time\ndef command():\n    print('first')\n    {ending}"
    here, python = ended(command), ended(command, as_command=False)
    assert here.returncode == status
    assert said in here.stderr
    assert here.stdout == python.stdout
