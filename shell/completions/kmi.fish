# TAB for kmi in fish. Written by `make docs` from the parser; do not edit.
# Labels come from a file that kmi keeps, read by builtins: no process is started for them.

# What there is below a command, one line each: `option KIND NAME HELP`, `child NAME HELP` and
# `word KIND`, with tabs between.
function __kmi_table
    switch "$argv"
        case ''
            echo 'option'\t\t'--version'\t'the version, and where it runs from'
            echo 'child'\t'run'\t'run a program on a key that works'
            echo 'child'\t'kimi'\t'the same as `kmi run -- kimi`'
            echo 'child'\t'use'\t'swap a key in now'
            echo 'child'\t'rotate'\t'swap the best key in now'
            echo 'child'\t'current'\t'the active key'
            echo 'child'\t'status'\t'the whole situation'
            echo 'child'\t'health'\t'every key: status, quotas, time to reset, what to do'
            echo 'child'\t'why'\t'why each key would or would not be picked now'
            echo 'child'\t'bind'\t'bind this directory to keys: write .kmi.toml'
            echo 'child'\t'allow'\t'let a project\'s .kmi.toml count'
            echo 'child'\t'deny'\t'let a project\'s .kmi.toml not count'
            echo 'child'\t'keys'\t'list, add, remove, rename, enable, disable, check keys'
            echo 'child'\t'init'\t'the line for a shell\'s start file: prompt, TAB, and `kimi`'
            echo 'child'\t'completion'\t'the completion script of a shell'
            echo 'child'\t'prompt'\t'what prompts show of the active key'
            echo 'child'\t'config'\t'kmi\'s settings: show, validate, path'
            echo 'child'\t'undo'\t'take the last swap back'
            echo 'child'\t'backups'\t'the backups of client configs'
            echo 'child'\t'demo'\t'the main job in a throw-away home, on a fake API'
        case run
            echo 'option'\t'LABEL'\t'-k'\t'run on this key, whatever its state'
            echo 'option'\t'LABEL'\t'--key'\t'run on this key, whatever its state'
            echo 'option'\t'sticky|most-remaining|round-robin|least-recently-used|soonest-reset'\t'--strategy'\t'how to choose, for this run'
            echo 'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant'
            echo 'option'\t\t'--pin'\t'keep the key for the whole run, whatever happens'
            echo 'option'\t\t'--adopt'\t'beside an OAuth login: add a provider of kmi\'s own and make it the default'
            echo 'option'\t\t'--dry-run'\t'show what would happen, and stop'
        case use
            echo 'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant'
            echo 'option'\t\t'--adopt'\t'add a provider beside an OAuth login'
            echo 'option'\t\t'--dry-run'\t'show the change, write nothing'
            echo 'word'\t'LABEL'
        case rotate
            echo 'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant'
            echo 'option'\t\t'--adopt'\t'add a provider beside an OAuth login'
            echo 'option'\t\t'--dry-run'\t'show the change, write nothing'
            echo 'word'\t'auto|off'
        case current
            echo 'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant'
        case status
            echo 'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant'
        case health
            echo 'option'\t\t'--refresh'\t'ask upstream about every key, however fresh it is'
            echo 'option'\t\t'--no-refresh'\t'ask upstream about nothing'
            echo 'option'\t'FREE'\t'--watch'\t'draw it again and again, until Ctrl-C'
            echo 'option'\t\t'--background'\t'==SUPPRESS=='
        case why
            echo 'option'\t'sticky|most-remaining|round-robin|least-recently-used|soonest-reset'\t'--strategy'\t'as if this were the strategy'
            echo 'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose active key counts'
            echo 'option'\t\t'--rotate'\t'explain `kmi rotate` instead'
        case bind
            echo 'option'\t\t'--strict'\t'never another key, whatever happens'
            echo 'option'\t\t'--force'\t'replace a .kmi.toml that is there'
            echo 'word'\t'LABEL+'
        case allow
            echo 'word'\t'FILE'
        case deny
            echo 'word'\t'FILE'
        case keys
            echo 'child'\t'list'\t'every key, its status and its file (the default)'
            echo 'child'\t'add'\t'store a key: asked for without echo, or from stdin'
            echo 'child'\t'remove'\t'remove a key\'s file; a copy is kept'
            echo 'child'\t'enable'\t'use a key again'
            echo 'child'\t'disable'\t'leave a key out'
            echo 'child'\t'rename'\t'give a key another label'
            echo 'child'\t'reset'\t'end cooldown and block'
            echo 'child'\t'import'\t'take the keys that the clients\' configs hold'
            echo 'child'\t'check'\t'ask upstream whether keys work'
        case 'keys add'
            echo 'option'\t'FREE'\t'--base-url'\t'where this key is valid'
            echo 'option'\t'FREE'\t'--priority'\t'a higher one is preferred on a tie'
            echo 'option'\t'FREE'\t'--email'\t'whose account it is'
            echo 'option'\t'FREE'\t'--command'\t'a program that prints the key'
            echo 'word'\t'FREE'
        case 'keys remove'
            echo 'option'\t\t'-y'\t'do not ask'
            echo 'option'\t\t'--yes'\t'do not ask'
            echo 'word'\t'LABEL'
        case 'keys enable'
            echo 'word'\t'LABEL'
        case 'keys disable'
            echo 'word'\t'LABEL'
        case 'keys rename'
            echo 'word'\t'LABEL'
            echo 'word'\t'FREE'
        case 'keys reset'
            echo 'word'\t'LABEL+'
        case 'keys import'
            echo 'option'\t'FREE'\t'--label'\t'its label, when there is one new key'
        case 'keys check'
            echo 'option'\t\t'--chat'\t'also send one tiny chat request with each key'
            echo 'word'\t'LABEL+'
        case init
            echo 'option'\t'FREE'\t'--cmd'\t'name the function NAME instead of `kimi`'
            echo 'option'\t\t'--no-wrap'\t'no function'
            echo 'option'\t\t'--no-prompt'\t'nothing in the prompt'
            echo 'option'\t\t'--no-completion'\t'no completion'
            echo 'word'\t'bash|zsh|fish|pwsh'
        case completion
            echo 'word'\t'bash|zsh|fish|pwsh'
        case config
            echo 'child'\t'show'\t'every setting with its value and its origin'
            echo 'child'\t'validate'\t'check settings, keys, state and client configs'
            echo 'child'\t'path'\t'where each file is'
        case undo
            echo 'option'\t'kimi-cli|kimi-code'\t'--client'\t'whose config is meant'
            echo 'option'\t'BACKUP'\t'--file'\t'put this whole backup in place'
            echo 'option'\t\t'--dry-run'\t'show the change, write nothing'
        case backups
            echo 'option'\t'kimi-cli|kimi-code'\t'--client'\t'only this client\'s'
        case demo
            echo 'option'\t\t'--stand-in'\t'use the shipped stand-in, not the `kimi` on PATH'
    end
    if test "$argv" != kimi
        echo 'option'\t\t'--json'\t'one JSON document on stdout'
        echo 'option'\t\t'--plain'\t'ASCII only, no colour'
        echo 'option'\t\t'--no-color'\t'no colour'
        echo 'option'\t\t'--quiet'\t'no notes'
        echo 'option'\t\t'--verbose'\t'details'
        echo 'option'\t\t'--help'\t'show help'
    end
end

# The candidates of a kind.
function __kmi_candidates
    set -l directory $KMI_STATE_DIR $__kmi_state $HOME/.kmi
    set directory (string match -v -- '' $directory)[1]
    switch $argv[1]
        case LABEL
            if test -f $directory/labels -a -r $directory/labels
                while read -l line
                    string match -r -- '^[A-Za-z0-9._@/-]+$' $line
                end <$directory/labels
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
    set -l number 1
    set -l ended
    set -l table (__kmi_table '')
    set -l index 1
    while test $index -lt (count $words)
        set index (math $index + 1)
        set -l word $words[$index]
        if set -q wanted[1]
            set wanted
        else if test "$word" = --
            if test "$path" = run
                __kmi_delegate $words[(math $index + 1)..-1]
                return
            end
            set ended 1
        else if not set -q ended[1]; and string match -q -- '-*' $word
            set wanted (string match -r -- "^option\t([^\t]+)\t"(string escape --style=regex -- $word)"\t" $table)[2]
        else if string match -q -- "child"\t"$word"\t'*' $table
            set -a path $word
            if test "$path" = kimi
                __kmi_delegate $words[$index..-1]
                return
            end
            set table (__kmi_table $path)
        else if test "$path" = run
            __kmi_delegate $words[$index..-1]
            return
        else
            set number (math $number + 1)
        end
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
        return
    end
    if test "$path" = run
        __kmi_delegate
        return
    end
    string replace -fr -- "^child\t" '' $table
    set -l kinds (string replace -fr -- "^word\t" '' $table)
    if set -q kinds[$number]
        __kmi_candidates (string trim -c + -- $kinds[$number])
    else if string match -q -- '*+' "$kinds[-1]"
        __kmi_candidates (string trim -c + -- $kinds[-1])
    end
end

complete -c kmi -f -k -a '(__kmi_complete)'
