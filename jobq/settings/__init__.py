"""Configuration: of the environment and of a file, for the command line."""

from jobq.settings.durations import FOREVER, FORMS, parse_duration
from jobq.settings.reading import Settings, absolute_url, read_settings

__all__ = ["FOREVER", "FORMS", "Settings", "absolute_url", "parse_duration", "read_settings"]
