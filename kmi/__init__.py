"""kmi keeps several Kimi API keys, and starts every run of a Kimi client on one that works.

Where things happen:

=================  ===================================================================
``cli``            the table of commands, the parser, and the one error boundary
``quick``          the short way of `kmi run` when nothing has to change
``commands/``      one verb per module: ``run(args, app) -> int``
``app``            what a command needs, opened when it is needed
``errors``         every exit code, and the errors that carry them
``model``          the values that are passed around: keys, states, decisions
``settings``       the table of every ``KMI_*`` name; parsing and origins
``paths``          where each file lives, from an environment mapping
``urls``           base URLs, parsed once
``auths``          the `_auths` directory: text to keys (pure), files to text (edge)
``selection``      ``choose()``: which key, why, and why not the others (pure)
``verdicts``       what one upstream answer says about a key (pure)
``usages``         quota windows from a `/usages` answer (pure)
``health``         how verdicts and windows change a key's state (pure)
``kimi_edits``     which fields of a client's config a key changes (pure)
``kimi_config``    the edit of that ``config.toml``, proven by a second parse (pure)
``config_file``    the same file on disk: read, compare, replace, back up
``store``          ``state.json`` under its lock, and the append-only records
``clients``        which client a program is, and how it takes a key
``launcher``       environment, pinning and exec
``api``            questions to the upstream about a key
``output``         words for people, JSON for programs, nothing that leaks
=================  ===================================================================
"""

__version__ = "0.1.0"
