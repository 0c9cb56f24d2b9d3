# TAB for kmi in fish. Written by `make docs` from the parser; do not edit.
# Labels come from a file that kmi keeps, read by builtins: no process is started for them.

# What there is below a command, one line each: `option KIND NAME HELP`, `child NAME HELP` and
# `word KIND`, with tabs between.
function __kmi_table
    switch "$argv"
@TABLE@
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
@GLOBAL@
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
