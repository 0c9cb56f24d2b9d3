"""`kmi usage`: what calls cost, read from the clients' session logs, and which key paid."""
