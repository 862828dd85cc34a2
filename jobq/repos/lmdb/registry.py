"""The environments that this process has open, by device and inode of their directories."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from pathlib import Path

from jobq.ports import Clock
from jobq.repos.lmdb import directory
from jobq.repos.lmdb.environment import Environment
from jobq.repos.lmdb.properties import Settings, check_in_force


class Registry:
    """Opens each directory once, counts its users, and sees that a fork finds it at rest.

    lock: held while users come and go; free in a forked child.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._environments: dict[tuple[int, int], Environment] = {}
        self._fork = ExitStack()

    def acquire(self, user: object, path: Path, settings: Settings, clock: Clock) -> Environment:
        """The environment of a directory, opened by its first user with the clock of that one."""
        with self.lock:
            found = directory.prepare(path)
            key = (found.st_dev, found.st_ino)
            environment = self._environments.get(key)
            if environment is None:
                environment = self._environments[key] = Environment(path, key, settings, clock)
            else:
                check_in_force(environment.path, environment.properties, settings)
            environment.users.add(user)
            return environment

    def release(self, user: object, environment: Environment) -> None:
        """Give an environment back; the last to do so closes it. If that is interrupted, a second time goes on."""
        with self.lock:
            environment.users.discard(user)
            if environment.users or self._environments.get(environment.key) is not environment:
                return
            with environment.entrance.quiet():
                environment.close()
            del self._environments[environment.key]

    def before_fork(self) -> None:
        """Let no other thread be in a transaction or in here while the process forks: a child could not end it."""
        self.lock.acquire()
        for environment in self._environments.values():
            self._fork.enter_context(environment.entrance.quiet())

    def after_fork(self) -> None:
        """Go on."""
        self._fork.close()
        self.lock.release()

    def after_fork_in_child(self) -> None:
        """Let go of what was inherited: the child would keep locks and sockets of its parent's in being."""
        self.after_fork()
        environments, self._environments = self._environments, {}
        for environment in environments.values():
            environment.disown()


REGISTRY = Registry()
os.register_at_fork(
    before=REGISTRY.before_fork, after_in_parent=REGISTRY.after_fork, after_in_child=REGISTRY.after_fork_in_child
)
