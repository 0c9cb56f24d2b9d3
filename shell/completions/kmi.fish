# TAB for kmi in fish. Written by `make docs` from the parser; do not edit.
# Labels come from a file that kmi keeps, read by builtins: no process is started for them.

# What there is below a command, one line each: `option KIND NAME HELP`, `child NAME HELP` and
# `word KIND`, with tabs between.
function __kmi_table
    switch "$argv"
        case ''
            printf '%s\n' \
                'option'\t\t'--version'\t'the version, and where it runs from' \
                'child'\t'run'\t'run a program on a key that works' \
                'child'\t'kimi'\t'the same as `kmi run -- kimi`' \
                'child'\t'use'\t'swap a key in now' \
                'child'\t'rotate'\t'swap the best key in now' \
                'child'\t'current'\t'the active key' \
                'child'\t'status'\t'the whole situation' \
                'child'\t'health'\t'every key: status, quotas, time to reset, what to do' \
                'child'\t'why'\t'why each key would or would not be picked now' \
                'child'\t'bind'\t'bind this directory to keys: write .kmi.toml' \
                'child'\t'allow'\t'let a project\'s .kmi.toml count' \
                'child'\t'deny'\t'let a project\'s .kmi.toml not count' \
                'child'\t'keys'\t'list, add, remove, rename, enable, disable, check keys' \
                'child'\t'usage'\t'tokens by key, day, project, model or session: who paid' \
                'child'\t'trace'\t'which key served which request of the proxy, and how evenly' \
                'child'\t'proxy'\t'the local proxy: start, stop, restart, status' \
                'child'\t'proxy-stop'\t'the same as `kmi proxy stop`' \
                'child'\t'proxy-restart'\t'the same as `kmi proxy restart`' \
                'child'\t'proxy-logs'\t'what the proxy says, as it comes' \
                'child'\t'service'\t'the proxy as a service of the user\'s' \
                'child'\t'plugin'\t'kmi\'s hooks and status line in the clients' \
                'child'\t'hook'\t'what clients call when a session begins, ends or fails' \
                'child'\t'init'\t'the line for a shell\'s start file: prompt, TAB, and `kimi`' \
                'child'\t'completion'\t'the completion script of a shell' \
                'child'\t'prompt'\t'what prompts show of the active key' \
                'child'\t'config'\t'settings: show, validate, path, migrate' \
                'child'\t'doctor'\t'check everything, each finding with its cure' \
                'child'\t'undo'\t'take the last swap back' \
                'child'\t'backups'\t'the backups of client configs' \
                'child'\t'audit'\t'who changed what, when, and what was refused' \
                'child'\t'clean'\t'remove old records, logs and backups of kmi\'s own' \
                'child'\t'simulate'\t'what each strategy would make of keys and a workload' \
                'child'\t'demo'\t'the main job in a throw-away home, on a fake API'
        case run
            printf '%s\n' \
                'option'\t'LABEL'\t'-k'\t'run on this key, whatever its state' \
                'option'\t'LABEL'\t'--key'\t'run on this key, whatever its state' \
                'option'\t'sticky|most-remaining|round-robin|least-recently-used|soonest-reset|spread'\t'--strategy'\t'how to choose, for this run' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant' \
                'option'\t\t'--pin'\t'keep the key for the whole run, whatever happens' \
                'option'\t\t'--adopt'\t'beside an OAuth login: add a provider of kmi\'s own and make it the default' \
                'option'\t\t'--proxy'\t'through the local proxy, which is started if need be' \
                'option'\t\t'--proxy-stay'\t'the same; the proxy stays when its runs end' \
                'option'\t\t'--retry'\t'one-shot runs: once more on another key, if the first fails before it answers' \
                'option'\t\t'--dry-run'\t'show what would happen, and stop'
        case use
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant' \
                'option'\t\t'--adopt'\t'add a provider beside an OAuth login' \
                'option'\t\t'--dry-run'\t'show the change, write nothing' \
                'word'\t'LABEL'
        case rotate
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant' \
                'option'\t\t'--adopt'\t'add a provider beside an OAuth login' \
                'option'\t\t'--dry-run'\t'show the change, write nothing' \
                'word'\t'auto|off'
        case current
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant'
        case status
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant'
        case health
            printf '%s\n' \
                'option'\t\t'--refresh'\t'ask upstream about every key, however fresh it is' \
                'option'\t\t'--no-refresh'\t'ask upstream about nothing' \
                'option'\t'FREE'\t'--watch'\t'draw it again and again, until Ctrl-C'
        case why
            printf '%s\n' \
                'option'\t'sticky|most-remaining|round-robin|least-recently-used|soonest-reset|spread'\t'--strategy'\t'as if this were the strategy' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose active key counts' \
                'option'\t\t'--rotate'\t'explain `kmi rotate` instead'
        case bind
            printf '%s\n' \
                'option'\t\t'--strict'\t'never another key, whatever happens' \
                'option'\t\t'--force'\t'replace a .kmi.toml that is there' \
                'word'\t'LABEL+'
        case allow
            printf '%s\n' \
                'word'\t'FILE'
        case deny
            printf '%s\n' \
                'word'\t'FILE'
        case keys
            printf '%s\n' \
                'child'\t'list'\t'every key, its status and its file (the default)' \
                'child'\t'add'\t'store a key: asked for without echo, or from stdin' \
                'child'\t'remove'\t'remove a key\'s file; a copy is kept' \
                'child'\t'enable'\t'use a key again' \
                'child'\t'disable'\t'leave a key out' \
                'child'\t'rename'\t'give a key another label' \
                'child'\t'reset'\t'end cooldown and block' \
                'child'\t'import'\t'take the keys that the clients\' configs hold' \
                'child'\t'check'\t'ask upstream whether keys work'
        case 'keys add'
            printf '%s\n' \
                'option'\t'FREE'\t'--base-url'\t'where this key is valid' \
                'option'\t'FREE'\t'--priority'\t'a higher one is preferred on a tie' \
                'option'\t'FREE'\t'--email'\t'whose account it is' \
                'option'\t'FREE'\t'--command'\t'a program that prints the key' \
                'word'\t'FREE'
        case 'keys remove'
            printf '%s\n' \
                'option'\t\t'-y'\t'do not ask' \
                'option'\t\t'--yes'\t'do not ask' \
                'word'\t'LABEL'
        case 'keys enable'
            printf '%s\n' \
                'word'\t'LABEL'
        case 'keys disable'
            printf '%s\n' \
                'word'\t'LABEL'
        case 'keys rename'
            printf '%s\n' \
                'word'\t'LABEL' \
                'word'\t'FREE'
        case 'keys reset'
            printf '%s\n' \
                'word'\t'LABEL+'
        case 'keys import'
            printf '%s\n' \
                'option'\t'FREE'\t'--label'\t'its label, when there is one new key'
        case 'keys check'
            printf '%s\n' \
                'option'\t\t'--chat'\t'also send one tiny chat request with each key' \
                'word'\t'LABEL+'
        case usage
            printf '%s\n' \
                'option'\t'key|day|project|model|session'\t'--by'\t'what makes a row (key)' \
                'option'\t'FREE'\t'--since'\t'only what is younger: 12h, 7d, 2026-01-31, all (30d)' \
                'option'\t'LABEL'\t'--key'\t'only what this key paid' \
                'option'\t'FILE'\t'--html'\t'write one page with charts'
        case trace
            printf '%s\n' \
                'option'\t\t'--follow'\t'show them as they come' \
                'option'\t'FREE'\t'--lines'\t'how many to list (20)' \
                'option'\t'FREE'\t'--since'\t'only what is younger: 30s, 10m, 2h, 1d' \
                'option'\t'LABEL'\t'--key'\t'list only what this key served or tried'
        case proxy
            printf '%s\n' \
                'option'\t\t'--foreground'\t'stay here, and log to stderr' \
                'child'\t'start'\t'start it, and return when it answers (the default)' \
                'child'\t'stop'\t'let it finish what it serves, and end it' \
                'child'\t'restart'\t'stop it, and start it with the settings of now' \
                'child'\t'status'\t'whether it runs, where, and for which runs'
        case 'proxy start'
            printf '%s\n' \
                'option'\t\t'--foreground'\t'stay here, and log to stderr; Ctrl-C ends it' \
                'option'\t\t'--service'\t'with --foreground: a service manager started it'
        case 'proxy stop'
            printf '%s\n' \
                'option'\t\t'--force'\t'kill it, and cut off what it still serves'
        case 'proxy restart'
            printf '%s\n' \
                'option'\t\t'--force'\t'kill it, and cut off what it still serves'
        case proxy-stop
            printf '%s\n' \
                'option'\t\t'--force'\t'kill it, and cut off what it still serves'
        case proxy-restart
            printf '%s\n' \
                'option'\t\t'--force'\t'kill it, and cut off what it still serves'
        case proxy-logs
            printf '%s\n' \
                'option'\t'FREE'\t'-n'\t'how many of the last lines to show first (50)' \
                'option'\t'FREE'\t'--lines'\t'how many of the last lines to show first (50)' \
                'option'\t\t'--no-follow'\t'show them, and stop' \
                'option'\t\t'--app'\t'the events of the proxy, instead of its raw output' \
                'option'\t'FREE'\t'--since'\t'only what is younger: 30s, 10m, 2h, 1d'
        case service
            printf '%s\n' \
                'child'\t'print'\t'show the service file, and write nothing' \
                'child'\t'install'\t'write the service file, and say how to turn it on' \
                'child'\t'uninstall'\t'remove the service file that kmi wrote'
        case 'service print'
            printf '%s\n' \
                'option'\t\t'--light'\t'systemd: without what needs user namespaces, which some systems forbid' \
                'word'\t'systemd|launchd|windows'
        case 'service install'
            printf '%s\n' \
                'option'\t\t'--light'\t'systemd: without what needs user namespaces, which some systems forbid' \
                'option'\t\t'--now'\t'also turn it on or off (systemd, launchd)' \
                'option'\t\t'--force'\t'also a file that somebody changed' \
                'word'\t'systemd|launchd|windows'
        case 'service uninstall'
            printf '%s\n' \
                'option'\t\t'--now'\t'also turn it on or off (systemd, launchd)' \
                'option'\t\t'--force'\t'also a file that somebody changed' \
                'word'\t'systemd|launchd|windows'
        case plugin
            printf '%s\n' \
                'child'\t'install'\t'let the clients tell kmi which session began, and which failed' \
                'child'\t'uninstall'\t'take all of that out again' \
                'child'\t'status'\t'what is installed where'
        case 'plugin install'
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'only for this client' \
                'option'\t\t'--dry-run'\t'show what would be written, and stop'
        case 'plugin uninstall'
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'only for this client' \
                'option'\t\t'--dry-run'\t'show what would be written, and stop'
        case 'plugin status'
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'only for this client'
        case hook
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'in which client' \
                'option'\t\t'--wait'\t'answer when all is done, not before (for trying)' \
                'word'\t'session-start|session-end|stop-failure'
        case init
            printf '%s\n' \
                'option'\t'FREE'\t'--cmd'\t'name the function NAME instead of `kimi`' \
                'option'\t\t'--no-wrap'\t'no function' \
                'option'\t\t'--no-prompt'\t'nothing in the prompt' \
                'option'\t\t'--no-completion'\t'no completion' \
                'word'\t'bash|zsh|fish|pwsh'
        case completion
            printf '%s\n' \
                'word'\t'bash|zsh|fish|pwsh'
        case config
            printf '%s\n' \
                'child'\t'show'\t'every setting with its value and its origin' \
                'child'\t'validate'\t'check settings, keys, state, bindings and client configs' \
                'child'\t'path'\t'where each file is' \
                'child'\t'migrate'\t'bring kmi\'s files to today\'s form, also those of kmi-manager-cli'
        case 'config migrate'
            printf '%s\n' \
                'option'\t'DIR'\t'--from'\t'where kmi-manager-cli was started, or kept its files' \
                'option'\t\t'--dry-run'\t'show the plan, change nothing' \
                'option'\t\t'--yes'\t'do not ask'
        case doctor
            printf '%s\n' \
                'option'\t\t'--fix'\t'put right what is safe, after asking' \
                'option'\t\t'--yes'\t'with --fix: do not ask' \
                'option'\t\t'--dry-run'\t'with --fix: tell, change nothing'
        case undo
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant' \
                'option'\t'BACKUP'\t'--file'\t'put this whole backup in place' \
                'option'\t\t'--dry-run'\t'show the change, write nothing'
        case backups
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'only this client\'s'
        case audit
            printf '%s\n' \
                'option'\t'FREE'\t'--lines'\t'how many of the last (50)' \
                'option'\t'FREE'\t'--since'\t'only what is younger: 10m, 2h, 30d' \
                'option'\t'FREE'\t'--command'\t'only this command, such as `keys`' \
                'option'\t'changed|unchanged|denied'\t'--outcome'\t'only what ended so' \
                'option'\t'FREE'\t'--actor'\t'only what this person did' \
                'option'\t'LABEL'\t'--key'\t'only what names this key'
        case clean
            printf '%s\n' \
                'option'\t\t'--logs'\t'what the proxy logged' \
                'option'\t\t'--trace'\t'which key served which request' \
                'option'\t\t'--runs'\t'which run had which key' \
                'option'\t\t'--usage'\t'what calls cost, as `kmi usage` shows it' \
                'option'\t\t'--backups'\t'client configs as they were, and `kmi undo` with them' \
                'option'\t'FREE'\t'--older-than'\t'only what is older: 12h, 30d (the default), 0d for all' \
                'option'\t\t'--dry-run'\t'only say what would go'
        case simulate
            printf '%s\n' \
                'option'\t'FREE'\t'--keys'\t'keys (3)' \
                'option'\t'FREE'\t'--clients'\t'people at work (4 for each key)' \
                'option'\t'FREE'\t'--days'\t'days (14)' \
                'option'\t'FREE'\t'--seed'\t'of chance (1)' \
                'option'\t'FREE'\t'--load'\t'make the quotas so large that this share of them is needed, such as 0.9' \
                'option'\t'sticky|most-remaining|round-robin|least-recently-used|soonest-reset|spread'\t'--strategy'\t'only this one; may be repeated (all)' \
                'option'\t'FILE'\t'--workload'\t'requests from a file of usage rows' \
                'option'\t\t'--recorded'\t'requests from what `kmi usage` has recorded'
        case demo
            printf '%s\n' \
                'option'\t\t'--stand-in'\t'use the shipped stand-in, not the `kimi` on PATH' \
                'option'\t\t'--shell'\t'start $SHELL in the throw-away home, to try kmi by hand'
    end
end

# The candidates of a kind.
function __kmi_candidates
    set -l directory $KMI_STATE_DIR $__kmi_state $HOME/.kmi
    set directory (string match -v -- '' $directory)[1]
    switch $argv[1]
        case LABEL
            if test -f $directory/labels -a -r $directory/labels
                read -lz labels <$directory/labels
                string match -r -- '^[A-Za-z0-9._@/-]+$' (string split -n -- \n $labels)
            end
        case BACKUP
            set -l backups $directory/backups/kimi-*
            string replace -r -- '.*/' '' $backups
        case FILE
            __fish_complete_path (commandline -ct)
        case '' FREE
        case '*'
            string split -- '|' $argv[1]
    end
    return 0
end

# The rest of the line belongs to another program: what fish knows of it.
function __kmi_delegate
    set -l words (string escape -- $argv)
    complete -C (string join -- ' ' $words (commandline -ct))
end

function __kmi_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l path
    set -l wanted
    set -l before 1
    set -l ended
    set -l program
    set -l table
    set -e words[1]
    # Most lines begin with a command, and then its own table is enough.
    if set -q words[1]; and not string match -q -- '-*' $words[1]
        set table (__kmi_table $words[1])
        if set -q table[1]
            set path $words[1]
            set -e words[1]
            test "$path" = kimi; and set program kimi
        end
    end
    set -q table[1]; or set table (__kmi_table '')
    for word in $words
        if set -q program[1]
            set -a program $word
        else if set -q wanted[1]
            set wanted
        else if test "$word" = --
            set ended 1
        else if not set -q ended[1]; and string match -q -- '-*' $word
            set wanted (string match -r -- "^option\t([^\t]+)\t"(string escape --style=regex -- $word)"\t" $table)[2]
        else if not set -q ended[1]; and string match -q -- "child"\t"$word"\t'*' $table
            set -a path $word
            test "$path" = kimi; and set program kimi
            set table (__kmi_table $path)
        else if test "$path" = run
            set program $word
        else
            set -a before $word
        end
    end

    if set -q program[1]
        __kmi_delegate $program
        return
    end
    if set -q wanted[1]
        __kmi_candidates $wanted
        return
    end
    if not set -q ended[1]; and string match -q -- '--*=*' $current
        set -l option (string split -m 1 -- = $current)[1]
        set -l kind (string match -r -- "^option\t([^\t]+)\t$option\t" $table)[2]
        string replace -r -- '^' "$option=" (__kmi_candidates "$kind")
        return
    end
    if not set -q ended[1]; and string match -q -- '-*' $current
        string replace -fr -- "^option\t[^\t]*\t" '' $table
        printf '%s\n' \
            '--json'\t'one JSON document on stdout' \
            '--plain'\t'ASCII only, no colour' \
            '--no-color'\t'no colour' \
            '--quiet'\t'no notes' \
            '--verbose'\t'details' \
            '--help'\t'show help'
        return
    end
    if test "$path" = run
        __kmi_delegate
        return
    end
    string replace -fr -- "^child\t" '' $table
    set -l kinds (string replace -fr -- "^word\t" '' $table)
    if set -q kinds[(count $before)]
        __kmi_candidates (string trim -c + -- $kinds[(count $before)])
    else if string match -q -- '*+' "$kinds[-1]"
        __kmi_candidates (string trim -c + -- $kinds[-1])
    end
end

complete -c kmi -f -k -a '(__kmi_complete)'
