#compdef kmi
# TAB for kmi in zsh. Written by `make docs` from the parser; do not edit.
# Labels come from a file that kmi keeps, read by builtins: no process is started for them.

function _kmi_labels {
  \builtin local file="${KMI_STATE_DIR:-${__kmi_state:-$HOME/.kmi}}/labels" line
  \builtin local -a labels
  if [[ -f $file && -r $file ]]; then
    while IFS= \builtin read -r line; do
      [[ $line == *[^A-Za-z0-9._@/-]* ]] || labels+=("$line")
    done <$file
  fi
  _wanted labels expl 'key' compadd -a labels
}

function _kmi_backups {
  \builtin local -a backups
  backups=("${KMI_STATE_DIR:-${__kmi_state:-$HOME/.kmi}}"/backups/kimi-*(N:t))
  _wanted backups expl 'backup' compadd -a backups
}

function _kmi {
  \builtin local curcontext="$curcontext" context state state_descr line expl ret=1
  \builtin local -a global actions
  \builtin local -A opt_args
  global=(
@GLOBAL@
  )
@BODY@
  \builtin return ret
}

# As an autoloaded function it is called at once; sourced, it is told to compinit when that ran.
if [[ ${funcstack[1]-} == _kmi ]]; then
  _kmi "$@"
elif (( ${+functions[compdef]} )); then
  compdef _kmi kmi
fi
