"""What can differ as a whole (a token, a frame, a boundary), and when rounding explains it."""
