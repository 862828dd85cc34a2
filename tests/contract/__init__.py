"""What every storage must do, through the public names alone."""
