"""What commands run: roles put to work on recordings."""
