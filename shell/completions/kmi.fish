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
                'child'\t'init'\t'the line for a shell\'s start file: prompt, TAB, and `kimi`' \
                'child'\t'completion'\t'the completion script of a shell' \
                'child'\t'prompt'\t'what prompts show of the active key' \
                'child'\t'config'\t'kmi\'s settings: show, validate, path' \
                'child'\t'undo'\t'take the last swap back' \
                'child'\t'backups'\t'the backups of client configs' \
                'child'\t'demo'\t'the main job in a throw-away home, on a fake API'
        case run
            printf '%s\n' \
                'option'\t'LABEL'\t'-k'\t'run on this key, whatever its state' \
                'option'\t'LABEL'\t'--key'\t'run on this key, whatever its state' \
                'option'\t'sticky|most-remaining|round-robin|least-recently-used|soonest-reset'\t'--strategy'\t'how to choose, for this run' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant' \
                'option'\t\t'--pin'\t'keep the key for the whole run, whatever happens' \
                'option'\t\t'--adopt'\t'beside an OAuth login: add a provider of kmi\'s own and make it the default' \
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
                'option'\t'FREE'\t'--watch'\t'draw it again and again, until Ctrl-C' \
                'option'\t\t'--background'\t'==SUPPRESS=='
        case why
            printf '%s\n' \
                'option'\t'sticky|most-remaining|round-robin|least-recently-used|soonest-reset'\t'--strategy'\t'as if this were the strategy' \
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
                'child'\t'validate'\t'check settings, keys, state and client configs' \
                'child'\t'path'\t'where each file is'
        case undo
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant' \
                'option'\t'BACKUP'\t'--file'\t'put this whole backup in place' \
                'option'\t\t'--dry-run'\t'show the change, write nothing'
        case backups
            printf '%s\n' \
                'option'\t'kimi-cli|kimi-code'\t'--client'\t'only this client\'s'
        case demo
            printf '%s\n' \
                'option'\t\t'--stand-in'\t'use the shipped stand-in, not the `kimi` on PATH'
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
    set -l table (__kmi_table '')
    for word in $words[2..-1]
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
