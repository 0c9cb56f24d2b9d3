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
``running``        one run, from the choice to exec
``picking``        choosing under the lock, with the programs that give secrets outside of it
``swap``           putting a key into a client's config, and remembering it
``error_texts``    an error's words, from any of the forms in which they arrive (pure)
``verdict_table``  the classification of errors, as data (pure)
``verdicts``       what one upstream answer says about a key (pure)
``usages``         quota windows from a `/usages` answer (pure)
``health``         a key's status, from what is known of it (pure)
``holds``          how long a verdict keeps a key out of use (pure)
``transitions``    how answers change what is known of a key (pure)
``retry_after``    how long an answer's headers ask to wait (pure)
``binding``        what a project's `.kmi.toml` says, and whether it counts (pure)
``project``        the same files on disk, and what was decided about them
``kimi_edits``     which fields of a client's config a key changes (pure)
``kimi_config``    the edit of that ``config.toml``, proven by a second parse (pure)
``config_file``    the same file on disk: read, compare, replace, back up
``store``          ``state.json`` under its lock, and the append-only records
``auditing``       who changed what, and what was refused
``clients``        which client a program is, and how it takes a key
``client_args``    what a client's command line means (pure)
``launcher``       how one process gets its own key (pure)
``pins``           the private config or home of a pinned run
``execute``        becoming another program
``memo``           what lets the next run take the quick way
``api``            questions to the upstream about a key
``polling``        when kmi asks by itself (pure)
``refresh``        asking about keys, and remembering what was said
``background``     the same, behind a run and without delaying it
``upstream``       the only module that knows httpx
``masking``        configs and their differences without the secrets in them (pure)
``dry_run``        what a swap would change, shown instead of done
``overview``       what `kmi health` shows, before it is drawn (pure)
``health_text``    the same as plain text
``health_rich``    the same for a terminal; the only module that draws with rich
``messages/``      every sentence for people, in English and Russian (pure)
``wording``        how they are put together (pure)
``proof``          the proof before `kmi rotate auto`
``shells``         the scripts of `shell/`: quoting, rendering (pure), finding
``shell_files``    the small files that prompts and TAB read
``light``          `kmi init`, `prompt`, `completion` without the command line
``output``         words for people, JSON for programs, nothing that leaks
=================  ===================================================================
"""

__version__ = "0.1.0"
