"""What runs handlers, as the coordinator sees it."""

from __future__ import annotations

from typing import Protocol

from jobq.worker.run import Ending, Run


class Post(Protocol):
    """Takes what executors report, from any thread."""

    def begins(self, run: Run) -> bool:
        """The handler is called next, by the thread that calls this; or, if this says False, it is not to be called."""
        ...

    def ended(self, ending: Ending) -> None:
        """A run has ended."""
        ...

    def troubled(self, problem: Exception) -> None:
        """A slot cannot run anything for now; it goes on trying."""
        ...

    def failed(self, problem: Exception) -> None:
        """The executor can run no handlers, so that the worker is at its end."""
        ...


class Executor(Protocol):
    """Runs handlers, and reports the end of each run that it was given and did not give back."""

    def begin(self) -> None:
        """Get ready."""
        ...

    def submit(self, run: Run) -> None:
        """Run a handler, as soon as there is a slot for it."""
        ...

    def withdraw(self) -> list[Run]:
        """Give back the runs that have not begun."""
        ...

    def cancel(self, run: Run) -> bool:
        """Tell a handler that its job is not its own any more, as far as that ends it; False if it does not."""
        ...

    def stop(self, run: Run) -> bool:
        """Have a running handler stopped, so that it ends soon; False if that cannot be done."""
        ...

    def give_up(self, run: Run) -> None:
        """Let another slot take the place of one whose handler does not end; its run has been claimed."""
        ...

    def close(self) -> None:
        """End the slots that are idle, and let the others end as they are done. It waits for none that runs on."""
        ...
