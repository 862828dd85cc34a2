"""The life of jobs: Ready, Delayed, Reserved, Done and Canceled, and the ways between.

    python examples/ready_retry_cancel.py

Four invoices are to be mailed: one arrives at the first attempt, one at the third, one is canceled while it waits, and
one goes to an address that does not exist until somebody corrects that. In the end each job's log tells its life.
"""

import jobq
from jobq import Job, JobOptions, JobService, Reject, Retry, Status

OPTIONS = JobOptions(min_backoff=0.1, max_retries=5, log_status_change=True)


class Mailer:
    """Mails invoices, as far as the server and the address allow."""

    def __init__(self) -> None:
        self.addresses = {"ada@example.org", "bob@example.org", "eve@example.org"}

    def work(self, svc: JobService) -> None:
        """Mail all invoices, until none came for a moment."""
        for job in svc.jobs("invoices", timeout=0.5):
            with job:  # done at the end of the block, unless something is raised
                self.mail(job)

    def mail(self, job: Job) -> None:
        """Mail one invoice, or raise what becomes of its job."""
        if job.text not in self.addresses:
            raise Reject("no such address")  # to try again would not help: a dead letter
        if job.text == "bob@example.org" and job.attempt < 3:
            raise Retry(error="the server is busy")  # after a backoff, which doubles; an exception does the same
        job.log(f"mailed to {job.text}")


def show(svc: JobService, title: str) -> None:
    """How many jobs have which status."""
    counts = svc.stats("invoices").now
    print(f"{title:26}", "  ".join(f"{counts[status]} {status}" for status in Status if counts[status]))


def main() -> None:
    """Enqueue the jobs, work on them, and tell their lives."""
    mailer = Mailer()
    with jobq.open("memory://", topic_defaults={"invoices": OPTIONS}) as svc:
        later = svc.enqueue("invoices", payload="eve@example.org", delay=3600)
        bob = svc.enqueue("invoices", payload="bob@example.org")
        typo = svc.enqueue("invoices", payload="cat@example.og")
        ada = svc.enqueue("invoices", payload="ada@example.org", priority=-1)  # the lower, the sooner
        show(svc, "Enqueued:")

        svc.cancel(later, "the order was withdrawn")
        mailer.work(svc)
        show(svc, "Canceled and worked on:")

        for dead in svc.dead_letters("invoices"):
            print(f"A dead letter, {svc.payload(dead.id).decode()}: {dead.last_error}. Corrected, it is reset.")
            mailer.addresses.add("cat@example.og")
            svc.reset(dead.id)
        mailer.work(svc)
        show(svc, "In the end:")

        for job_id in (ada, bob, later, typo):
            print(f"\n{svc.payload(job_id).decode()} (job {job_id})")
            for line in svc.logs(job_id):
                print(f"  {line.at:%H:%M:%S.%f}  {line.message}")


if __name__ == "__main__":
    main()
