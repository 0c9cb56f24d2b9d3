"""kmi keeps several Kimi API keys, and starts every run of a Kimi client on one that works.

Where things happen:

===================  ===================================================================
``cli``              the table of commands, the parser, and the one error boundary
``quick``            the short way of `kmi run` when nothing has to change
``commands/``        one verb per module: ``run(args, app) -> int``
``app``              what a command needs, opened when it is needed
``errors``           every exit code, and the errors that carry them
``model``            the values that are passed around: keys, states, decisions
``settings``         the table of every ``KMI_*`` name; parsing and origins
``paths``            where each file lives, from an environment mapping
``layout``           what is kmi's own in the state directory, and what ``state.json`` holds (pure)
``urls``             base URLs, parsed once
``auths``            the `_auths` directory: text to keys (pure), files to text (edge)
``selection``        ``choose()``: which key, why, and why not the others (pure)
``scores``           what a strategy makes of one key by itself (pure)
``ranking``          the same picks from large pools, without looking at every key (pure)
``running``          one run, from the choice to exec
``picking``          choosing under the lock, with the programs that give secrets outside of it
``swap``             putting a key into a client's config, and remembering it
``error_texts``      an error's words, from any of the forms in which they arrive (pure)
``verdict_table``    the classification of errors, as data (pure)
``verdicts``         what one upstream answer says about a key (pure)
``quotas``           quota windows from a `/usages` answer (pure)
``health``           a key's status, from what is known of it (pure)
``holds``            how long a verdict keeps a key out of use (pure)
``transitions``      how answers change what is known of a key (pure)
``retry_after``      how long an answer's headers ask to wait (pure)
``binding``          what a project's `.kmi.toml` says, and whether it counts (pure)
``project``          the same files on disk, and what was decided about them
``kimi_edits``       which fields of a client's config a key changes (pure)
``kimi_config``      the edit of that ``config.toml``, proven by a second parse (pure)
``config_file``      the same file on disk: read, compare, replace, back up
``store``            ``state.json`` under its lock, and the append-only records
``migrations``       older forms of ``state.json`` made into today's (pure)
``old_settings``     which settings of kmi-manager-cli go over (pure)
``old_home``         where its files are, and what in them is new here
``migrating``        `kmi config migrate`: the plan, and doing it under the lock
``auditing``         who changed what, and what was refused
``cleaning``         removing old records, logs and backups
``arguments``        counts and spans on command lines (pure)
``clients``          which client a program is, and how it takes a key
``client_args``      what a client's command line means (pure)
``launcher``         how one process gets its own key (pure)
``pins``             the private config or home of a pinned run
``session_index``    kimi-cli's index of sessions, after a run that had its own
``execute``          becoming another program
``memo``             what lets the next run take the quick way
``api``              questions to the upstream about a key
``polling``          when kmi asks by itself (pure)
``refresh``          asking about keys, and remembering what was said
``background``       the same, behind a run and without delaying it
``connection_words``  why a connection failed, for people
``upstream``         the only module that knows httpx
``masking``          configs and their differences without the secrets in them (pure)
``redaction``        secrets that are known, in any form, taken out of what is told (pure)
``dry_run``          what a swap would change, shown instead of done
``overview``         what `kmi health` shows, before it is drawn (pure)
``health_text``      the same as plain text
``health_rich``      the same for a terminal, drawn with rich
``messages/``        every sentence for people, in English and Russian (pure)
``wording``          how they are put together (pure)
``translation``      the Russian of errors, problems and reasons, found by their English (pure)
``validation``       what is wrong with settings, keys, state, bindings and client configs
``checks/``          what else `kmi doctor` looks at, one thing per module; each only looks
``checks/site``      what they look at, read once
``checks/finding``   what they find: severity, place, words, cure, repair (pure)
``doctor``           all of them in their order
``doctor_text``      findings as text, for people
``repairs``          what `kmi doctor --fix` does
``proof``            the proof before `kmi rotate auto`
``shells``           the scripts of `shell/`: quoting, rendering (pure), finding
``shell_files``      the small files that prompts and TAB read
``light``            `kmi init`, `prompt`, `completion`, `--version` without the command line
``origin``           which kmi this is, and where it runs from
``hooks/events``     `kmi hook`: what clients call, without the command line
``hooks/sessions``   which key a client's session uses, and the record of it
``hooks/quick_json``  JSON without the start-up of `json`
``hooks/models``     whose key a session uses that is not on the default model
``hooks/failures``   after a failed turn: what it says of the key, and the next one swapped in
``plugin/plan``      hooks and status line in clients' files: what is there, what changes
``plugin/texts``     what goes into these files, and out again (pure)
``plugin/files``     reading and writing them
``plugin/record``    what was written, so that it can be taken back
``plugin/install``   doing it under the lock
``plugin/status_line``  what Kimi Code's footer shows (pure)
``retrying``         `kmi run --retry`: a one-shot run once more, on another key
``proxied``          `kmi run --proxy`: one run through the proxy
``proxy_edits``      which fields of a client's config lead to the proxy (pure)
``service_units``    the proxy for systemd, launchd and the task scheduler, as text (pure)
``proxy/lifecycle``  the proxy as a process: serving here, starting, ending
``proxy/launch``     its process in the background, and what that reports
``proxy/instance``   the lock and the record by which it is found again
``proxy/leases``     which runs use it
``proxy/abreast``    waiting until it has seen what was written
``proxy/token``      what its clients send
``proxy/ports``      where it may listen, who holds a port, what answers there
``proxy/log``        what it says of itself
``proxy/notify``     what systemd is told
``proxy/grammar``    what HTTP/1.x messages are made of, their limits, what breaks them (pure)
``proxy/framing``    heads of requests and answers: one expression each, refused or read (pure)
``proxy/head_reader``  the same, for heads that come again and again (pure)
``proxy/chunks``     chunked bodies, read or only followed (pure)
``proxy/server``     the proxy from listening to its end: signals, ticks, draining
``proxy/listening``  the socket that it listens on
``proxy/client``     one connection of a client, and what is said to who is not served
``proxy/guards``     who may ask (pure)
``proxy/site``       where the guards stand; the pages, and what goes upstream
``proxy/exchange``   one request, from the choice of a key to the last byte of its answer
``proxy/account``    what is known of it (pure)
``proxy/heads``      the heads that go out (pure)
``proxy/pool``       connections to upstreams
``proxy/desk``       where requests meet: keys, connections, and what they learnt
``proxy/waiting``    where they wait, and who is next
``proxy/picker``     which key a request gets, and what its answer teaches
``proxy/affinity``   which session a request belongs to, and its key (pure)
``proxy/limits``     rates and concurrency (pure)
``proxy/outcomes``   what follows an answer: hand it on, or try again (pure)
``proxy/incoming``   an answer as it comes in: its end, and whether it is an error (pure)
``proxy/events``     the first event of a stream, and what an answer cost (pure)
``proxy/answers``    what the proxy answers itself (pure)
``proxy/quota``      `/usages` of all keys in one answer (pure)
``proxy/view``       what keys are picked by: one sight of the disk (pure)
``proxy/sighting``   making it
``proxy/keeper``     the thread that looks, and saves what was learnt
``proxy/asking``     asking about quotas while the proxy is used
``proxy/records``    what is known of a finished request (pure)
``proxy/tally``      what it counts, and the lines of the trace (pure)
``proxy/status``     `/status` and `/metrics` (pure)
``proxy/page``       the web page at `/`, and what it may do
``journal``          record files that many processes append to, rotated, and followed
``records``          the one list of events and their fields
``trace``            what the proxy's trace tells: who served what, how evenly (pure)
``trace_text``       `kmi trace` as plain text; what its columns say
``trace_rich``       the same for a terminal, drawn with rich
``usage/lines``      the lines of session logs that tell what a call cost (pure)
``usage/logs``       the clients' session logs on disk, read in pieces
``usage/projects``   the directories that kimi-cli's session folders stand for
``usage/rows``       what one call cost, and who paid (pure)
``usage/store``      ``usage.db``: calls, and how far each log was read
``usage/ingest``     bringing it up to date
``usage/facts``      what kmi's records tell of keys, for it
``usage/keys``       which key paid for a call (pure)
``usage/attribution``  the same for all calls that may have become known better
``usage/aliases``    models that have a key of their own
``usage/report``     what `kmi usage` shows, before it is drawn (pure)
``usage/text``       the same as plain text
``usage/screen``     the same for a terminal, drawn with rich
``usage/page``       the same as one page of HTML
``simulation/``      `kmi simulate`: strategies on simulated keys
``simulation/workload``  the requests, made up or recorded (pure)
``simulation/world``  accounts, their quotas and limits, and what they answer (pure)
``simulation/run``   one strategy, learning and picking by the code of the product (pure)
``simulation/bound``  what no strategy exceeds, with the proof (pure)
``simulation/report``  strategies beside one another and the bound (pure)
``output``           words for people, JSON for programs, nothing that leaks
===================  ===================================================================
"""

__version__ = "0.1.0"
