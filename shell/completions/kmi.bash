# shellcheck shell=bash
# TAB for kmi in bash. Written by `make docs` from the parser; do not edit.
# Labels come from a file that kmi keeps, read by builtins: no process is started for them.

# What there is below a command: its options (NAME or NAME=KIND), its actions, its arguments.
function __kmi_table {
  __kmi_options='' __kmi_children='' __kmi_arguments=''
  # shellcheck disable=SC2034 # they are the caller's
  case $1 in
  '')
    __kmi_options='--version'
    __kmi_children='run kimi use rotate current status health why bind allow deny keys usage trace proxy proxy-stop proxy-restart proxy-logs service plugin hook init completion prompt config doctor undo backups audit clean simulate demo'
    ;;
  'run')
    __kmi_options='-k=LABEL --key=LABEL --strategy=sticky|most-remaining|round-robin|least-recently-used|soonest-reset|spread --client=kimi-cli|kimi-code --pin --adopt --proxy --proxy-stay --retry --dry-run'
    ;;
  'use')
    __kmi_options='--client=kimi-cli|kimi-code --adopt --dry-run'
    __kmi_arguments='LABEL'
    ;;
  'rotate')
    __kmi_options='--client=kimi-cli|kimi-code --adopt --dry-run'
    __kmi_arguments='auto|off'
    ;;
  'current')
    __kmi_options='--client=kimi-cli|kimi-code'
    ;;
  'status')
    __kmi_options='--client=kimi-cli|kimi-code'
    ;;
  'health')
    __kmi_options='--refresh --no-refresh --watch=FREE'
    ;;
  'why')
    __kmi_options='--strategy=sticky|most-remaining|round-robin|least-recently-used|soonest-reset|spread --client=kimi-cli|kimi-code --rotate'
    ;;
  'bind')
    __kmi_options='--strict --force'
    __kmi_arguments='LABEL+'
    ;;
  'allow')
    __kmi_arguments='FILE'
    ;;
  'deny')
    __kmi_arguments='FILE'
    ;;
  'keys')
    __kmi_children='list add remove enable disable rename reset import check'
    ;;
  'keys add')
    __kmi_options='--base-url=FREE --priority=FREE --email=FREE --command=FREE'
    __kmi_arguments='FREE'
    ;;
  'keys remove')
    __kmi_options='-y --yes'
    __kmi_arguments='LABEL'
    ;;
  'keys enable')
    __kmi_arguments='LABEL'
    ;;
  'keys disable')
    __kmi_arguments='LABEL'
    ;;
  'keys rename')
    __kmi_arguments='LABEL FREE'
    ;;
  'keys reset')
    __kmi_arguments='LABEL+'
    ;;
  'keys import')
    __kmi_options='--label=FREE'
    ;;
  'keys check')
    __kmi_options='--chat'
    __kmi_arguments='LABEL+'
    ;;
  'usage')
    __kmi_options='--by=key|day|project|model|session --since=FREE --key=LABEL --html=FILE'
    ;;
  'trace')
    __kmi_options='--follow --lines=FREE --since=FREE --key=LABEL'
    ;;
  'proxy')
    __kmi_options='--foreground'
    __kmi_children='start stop restart status'
    ;;
  'proxy start')
    __kmi_options='--foreground --service'
    ;;
  'proxy stop')
    __kmi_options='--force'
    ;;
  'proxy restart')
    __kmi_options='--force'
    ;;
  'proxy-stop')
    __kmi_options='--force'
    ;;
  'proxy-restart')
    __kmi_options='--force'
    ;;
  'proxy-logs')
    __kmi_options='-n=FREE --lines=FREE --no-follow --app --since=FREE'
    ;;
  'service')
    __kmi_children='print install uninstall'
    ;;
  'service print')
    __kmi_options='--light'
    __kmi_arguments='systemd|launchd|windows'
    ;;
  'service install')
    __kmi_options='--light --now --force'
    __kmi_arguments='systemd|launchd|windows'
    ;;
  'service uninstall')
    __kmi_options='--now --force'
    __kmi_arguments='systemd|launchd|windows'
    ;;
  'plugin')
    __kmi_children='install uninstall status'
    ;;
  'plugin install')
    __kmi_options='--client=kimi-cli|kimi-code --dry-run'
    ;;
  'plugin uninstall')
    __kmi_options='--client=kimi-cli|kimi-code --dry-run'
    ;;
  'plugin status')
    __kmi_options='--client=kimi-cli|kimi-code'
    ;;
  'hook')
    __kmi_options='--client=kimi-cli|kimi-code --wait'
    __kmi_arguments='session-start|session-end|stop-failure'
    ;;
  'init')
    __kmi_options='--cmd=FREE --no-wrap --no-prompt --no-completion'
    __kmi_arguments='bash|zsh|fish|pwsh'
    ;;
  'completion')
    __kmi_arguments='bash|zsh|fish|pwsh'
    ;;
  'config')
    __kmi_children='show validate path migrate'
    ;;
  'config migrate')
    __kmi_options='--from=DIR --dry-run --yes'
    ;;
  'doctor')
    __kmi_options='--fix --yes --dry-run'
    ;;
  'undo')
    __kmi_options='--client=kimi-cli|kimi-code --file=BACKUP --dry-run'
    ;;
  'backups')
    __kmi_options='--client=kimi-cli|kimi-code'
    ;;
  'audit')
    __kmi_options='--lines=FREE --since=FREE --command=FREE --outcome=changed|unchanged|denied --actor=FREE --key=LABEL'
    ;;
  'clean')
    __kmi_options='--logs --trace --runs --usage --backups --older-than=FREE --dry-run'
    ;;
  'simulate')
    __kmi_options='--keys=FREE --clients=FREE --days=FREE --seed=FREE --load=FREE --strategy=sticky|most-remaining|round-robin|least-recently-used|soonest-reset|spread --workload=FILE --recorded'
    ;;
  'demo')
    __kmi_options='--stand-in --shell'
    ;;
  esac
  [[ $1 == kimi ]] || __kmi_options+=" "'--json --plain --no-color --quiet --verbose --help'
}

# The candidates of a kind that begin with the word.
function __kmi_candidates {
  \builtin local kind="$1" word="$2" directory="${KMI_STATE_DIR:-${__kmi_state:-${HOME-}/.kmi}}" line
  case $kind in
  LABEL)
    [[ -f $directory/labels && -r $directory/labels ]] || \builtin return 0
    \builtin local -a labels
    # All of it with one read; it ends without the NUL that was asked for.
    IFS=$'\n' \builtin read -r -d '' -a labels <"$directory/labels"
    \builtin local IFS=/ odd=''
    [[ ${labels[*]-} == *[!A-Za-z0-9._@/-]* ]] && odd=1
    for line in ${labels[@]+"${labels[@]}"}; do
      [[ $line == "$word"* ]] || continue
      [[ -n $odd && $line == *[!A-Za-z0-9._@/-]* ]] || COMPREPLY+=("$line")
    done
    ;;
  BACKUP)
    for line in "$directory"/backups/kimi-*; do
      line=${line##*/}
      [[ $line == "$word"* && $line != *'*' ]] && COMPREPLY+=("$line")
    done
    ;;
  FILE) \builtin compopt -o default 2>/dev/null ;;
  FREE) ;;
  *)
    \builtin local IFS='| '
    for line in $kind; do
      [[ ${line%%=*} == "$word"* ]] && COMPREPLY+=("${line%%=*}")
    done
    ;;
  esac
  \builtin return 0
}

# The rest of the line belongs to another program: its completion, from word $1 on.
function __kmi_delegate {
  \builtin local first="$1" program="${COMP_WORDS[$1]}" specification word="${COMP_WORDS[COMP_CWORD]}"
  if \builtin declare -F _comp_command_offset >/dev/null; then
    _comp_command_offset "$first"
  elif \builtin declare -F _command_offset >/dev/null; then
    _command_offset "$first"
  elif ((first == COMP_CWORD)); then
    while IFS= \builtin read -r specification; do
      COMPREPLY+=("$specification")
    done < <(\builtin compgen -c -- "$word")
  else
    specification=$(\builtin complete -p -- "$program" 2>/dev/null)
    if [[ $specification == *' -F '* ]]; then
      specification=${specification#* -F }
      \builtin local line="$COMP_LINE" index
      for ((index = 0; index < first; index++)); do
        line=${line#*"${COMP_WORDS[index]}"}
      done
      line=${line#"${line%%[![:space:]]*}"}
      \builtin local -a others
      others=("${COMP_WORDS[@]:first}")
      \builtin local -a COMP_WORDS
      COMP_WORDS=("${others[@]}")
      \builtin local COMP_CWORD="$((COMP_CWORD - first))" COMP_POINT="$((COMP_POINT - ${#COMP_LINE} + ${#line}))"
      \builtin local COMP_LINE="$line"
      "${specification%% *}" "$program" "$word" "${COMP_WORDS[COMP_CWORD - 1]}"
    else
      \builtin compopt -o default 2>/dev/null
    fi
  fi
}

function _kmi {
  \builtin local IFS=$' \t\n' rest="$COMP_LINE" word before count=-1 index
  \builtin local -a words places
  words=() places=() COMPREPLY=()
  # Labels hold `@`, at which readline breaks words: what has no blank between is one word.
  for ((index = 0; index <= COMP_CWORD; index++)); do
    word=${COMP_WORDS[index]} before=$rest
    rest=${rest#"${rest%%[![:space:]]*}"}
    if ((count < 0)) || [[ $before != "$rest" ]]; then
      ((++count))
      words[count]=$word places[count]=$index
    else
      words[count]+=$word
    fi
    rest=${rest#"$word"}
  done
  \builtin local current="${words[count]}" over="$((${#COMP_LINE} - ${#rest} - COMP_POINT))"
  ((over > 0 && over <= ${#current})) && current=${current:0:${#current}-over}

  \builtin local path='' wanted='' number=0 ended='' option
  \builtin local __kmi_options __kmi_children __kmi_arguments
  __kmi_table ''
  for ((index = 1; index < count; index++)); do
    word=${words[index]}
    if [[ -n $wanted ]]; then
      wanted=''
    elif [[ $word == -- ]]; then
      if [[ $path == run ]]; then
        __kmi_delegate "${places[index + 1]}"
        \builtin return
      fi
      ended=1
    elif [[ $word == -* && -z $ended ]]; then
      for option in $__kmi_options; do
        [[ $option == "$word="* ]] && wanted=${option#*=}
      done
    elif [[ " $__kmi_children " == *" $word "* ]]; then
      path="${path:+$path }$word"
      if [[ $path == kimi ]]; then
        __kmi_delegate "${places[index]}"
        \builtin return
      fi
      __kmi_table "$path"
    elif [[ $path == run ]]; then
      __kmi_delegate "${places[index]}"
      \builtin return
    else
      ((++number))
    fi
  done

  if [[ -n $wanted ]]; then
    __kmi_candidates "$wanted" "$current"
  elif [[ $current == --*=* && -z $ended ]]; then
    for option in $__kmi_options; do
      [[ $option == "${current%%=*}="* ]] || continue
      __kmi_candidates "${option#*=}" "${current#*=}"
    done
    for index in "${!COMPREPLY[@]}"; do
      COMPREPLY[index]="${current%%=*}=${COMPREPLY[index]}"
    done
  elif [[ $current == -* && -z $ended ]]; then
    __kmi_candidates "$__kmi_options " "$current"
  elif [[ $path == run ]]; then
    __kmi_delegate "${places[count]}"
  elif [[ -n $__kmi_children ]]; then
    __kmi_candidates "$__kmi_children " "$current"
  else
    wanted=''
    for word in $__kmi_arguments; do
      if ((number == 0)) || [[ $word == *+ ]]; then
        wanted=${word%+}
        break
      fi
      ((--number))
    done
    [[ -n $wanted ]] && __kmi_candidates "$wanted" "$current"
  fi

  # Readline replaces what follows its last break only; `@` it replaces too.
  \builtin local break prefix=''
  for break in '@' '=' ':'; do
    if [[ ${COMP_WORDBREAKS-} == *"$break"* && $current == *"$break"* ]]; then
      word=${current%"${current##*"$break"}"}
      word=${word%@}
      ((${#word} > ${#prefix})) && prefix=$word
    fi
  done
  if [[ -n $prefix ]]; then
    for index in "${!COMPREPLY[@]}"; do
      COMPREPLY[index]=${COMPREPLY[index]#"$prefix"}
    done
  fi
  \builtin return 0
}

\builtin complete -F _kmi kmi
