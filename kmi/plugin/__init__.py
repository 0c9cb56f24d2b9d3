"""`kmi plugin`: the hooks and the status line in the clients' own files."""
