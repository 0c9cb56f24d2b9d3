"""What `kmi doctor` looks at: ``check(site) -> findings``, and nothing is changed.

What files alone tell is in `kmi.validation`, which `kmi config validate` calls, too.
"""
