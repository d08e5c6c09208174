"""Shows the tap at work."""
