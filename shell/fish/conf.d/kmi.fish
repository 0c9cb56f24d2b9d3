# kmi for fisher, made by `make docs` from shell/kmi.fish; do not edit.
#
# Does what `kmi init fish | source` does, without starting kmi, whose `kmi` has to be on PATH;
# without it nothing happens, and `kimi` stays what it is.

if status is-interactive; and command -q kmi

    # The state directory, where kmi's env file moved it. KMI_STATE_DIR goes first.
    set -g __kmi_state ''

    # The client, on a key that works. `command kimi` is the client itself.
    function kimi --description 'Kimi on a key that works'
        command kmi run -- kimi $argv
    end

    # Before each prompt: one line, read by builtins. Sets KMI_PROMPT.
    function __kmi_prompt --on-event fish_prompt
        set -l folder $KMI_STATE_DIR $__kmi_state $HOME/.kmi
        set folder (string match -v -- '' $folder)[1]
        set -l file $folder/prompt
        set -l label
        set -l mark
        set -l rest
        if test -f $file -a -r $file
            read -d ' ' label mark rest <$file
        end
        # Inside a run the environment knows better.
        if test -n "$KMI_RUN_ID" -a -n "$KMI_ACTIVE_KEY" -a "$KMI_ACTIVE_KEY" != "$label"
            set label $KMI_ACTIVE_KEY
            set mark
        end
        set -g KMI_PROMPT
        if string match -qr '^[A-Za-z0-9._@/-]{1,64}$' -- "$label"
            set KMI_PROMPT $label
            contains -- "$mark" '!' x; and set KMI_PROMPT "$label $mark"
        end
        # A project that is bound to other keys: the first of them, behind `>`.
        set file $folder/bindings
        if test -z "$KMI_RUN_ID" -a -s $file -a -f $file -a -r $file
            while read -d ' ' mark rest
                set rest (string trim -r -c / -- $rest)
                if test -f "$rest/.kmi.toml"; and string match -qr -- '^'(string escape --style=regex -- $rest)/ $PWD/
                    set -l bound (string split , -- $mark)
                    if not contains -- "$label" $bound; and string match -qr '^[A-Za-z0-9._@/-]+$' -- "$bound[1]"
                        set KMI_PROMPT "$KMI_PROMPT>$bound[1]"
                    end
                    break
                end
            end <$file
        end
    end

    # The segment, on the right, unless somebody else shows something there.
    if not functions -q fish_right_prompt; and test "$KMI_PROMPT_AUTO" != 0 -a -z "$STARSHIP_SHELL"
        function fish_right_prompt --description 'The active key of kmi'
            test -n "$KMI_PROMPT"; and echo -n "[$KMI_PROMPT]"
        end
    end
end

function __kmi_uninstall --on-event kmi_uninstall
    functions -e kimi __kmi_prompt __kmi_uninstall
    set -e KMI_PROMPT
    set -e __kmi_state
end
