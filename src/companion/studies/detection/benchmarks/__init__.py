"""What takes long and no notebook makes."""
