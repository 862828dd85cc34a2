"""What `jobq watch` is made of: looking at a queue again and again, and drawing what there is."""
