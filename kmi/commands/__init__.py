"""One verb per module: ``configure(parser)`` and ``run(args, app) -> int``."""
