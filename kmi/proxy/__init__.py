"""The local proxy: changes the key within a running session."""
