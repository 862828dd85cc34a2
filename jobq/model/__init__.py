"""The records and words of the queue: plain values, without behaviour of their own."""
