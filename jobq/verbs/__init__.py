"""The verbs: functions of a draft, or of a unit of work where they only read; no waiting, no handles."""
