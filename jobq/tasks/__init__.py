"""Tasks: functions that are enqueued with their arguments, and run by a Worker. A client of JobService."""

from jobq.tasks.codec import Codec, JsonCodec
from jobq.tasks.schedules import ScheduleInfo, Schedules
from jobq.tasks.task import Task
from jobq.tasks.tasks import Tasks

__all__ = ["Codec", "JsonCodec", "ScheduleInfo", "Schedules", "Task", "Tasks"]
