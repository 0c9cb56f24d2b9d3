"""`kmi hook EVENT`: what the clients call when a session begins, ends, or fails."""
