"""Orders expire unless they are paid in time.

    python examples/expire_orders.py

Placing an order enqueues a job that is due when the time to pay is over. The number of the order is the job's unique
key, so that paying finds the job and cancels it, and an order that is placed twice has one job. Nothing polls: the
consumer sleeps until the next order is due. The jobs are in an LMDB directory, where they would outlive a crash.
"""

import tempfile
import time
from contextlib import suppress
from datetime import datetime

import jobq
from jobq import JobService

TIME_TO_PAY = 0.3  # seconds; a shop may take timedelta(minutes=30)


class Shop:
    """Orders, and what became of them."""

    def __init__(self, svc: JobService) -> None:
        self.svc = svc
        self.began = time.monotonic()

    def say(self, what: str) -> None:
        """Print what happens, and when."""
        print(f"{time.monotonic() - self.began:5.2f} s  {what}")

    def place(self, order: str) -> None:
        """Place an order; again, for one that is to be changed: its time to pay begins anew."""
        self.svc.enqueue("expire", payload=order, delay=TIME_TO_PAY, unique_key=order, on_duplicate="replace")
        self.say(f"order {order} is placed")

    def pay(self, order: str) -> None:
        """Pay an order, unless it has expired."""
        job_id = self.svc.lookup("expire", order)
        with suppress(jobq.InvalidStatus):  # it may expire at this very moment
            if job_id is not None:
                self.svc.cancel(job_id, "paid")
                self.say(f"order {order} is paid")
                return
        self.say(f"order {order} cannot be paid any more")

    def expire(self, order: str, due: datetime) -> None:
        """What is to be done with an order that was not paid."""
        late = (datetime.now(due.tzinfo) - due).total_seconds()
        self.say(f"order {order} expires, {late * 1000:.0f} ms after its time was over")


def play(svc: JobService) -> None:
    """Three orders: one is paid, one expires, and one is changed before it does."""
    shop = Shop(svc)
    for order in ("A-1", "A-2", "A-3"):
        shop.place(order)
    time.sleep(TIME_TO_PAY / 2)
    shop.pay("A-2")
    shop.place("A-3")
    for job in svc.jobs("expire", timeout=2 * TIME_TO_PAY):
        with job:
            shop.expire(job.text, job.info().run_at)
    shop.pay("A-1")
    stats = svc.stats("expire")
    print(f"{stats.enqueued} orders, {stats.canceled} paid, {stats.done} expired")


def main() -> None:
    """Play it in a directory of its own, which is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="orders-") as folder:
        try:
            svc = jobq.open(f"lmdb://{folder}/queue")
        except jobq.ConfigError as problem:
            print(f"{problem}\nSo the orders are in memory, and would not outlive this process.")
            svc = jobq.open("memory://")
        with svc:
            play(svc)


if __name__ == "__main__":
    main()
