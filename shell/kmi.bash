# shellcheck shell=bash
# kmi for bash: `eval "$(kmi init bash)"` in ~/.bashrc. Parses on 3.2, the bash of macOS.
#
# A line that ends in `#:` and a word is changed by `kmi init`; what stands between `#: begin` and
# `#: end` is left out when it was not wanted. As it is, the file works with the `kmi` on PATH.

if [[ $- == *i* ]]; then

  # The state directory, where kmi's env file moved it. KMI_STATE_DIR goes first.
  __kmi_state='' #: state

  #: begin wrap
  # The client, on a key that works. `command kimi` is the client itself.
  # The word `function` keeps an alias of that name out of its own definition.
  function kimi {                         #: name
    \builtin command kmi run -- kimi "$@" #: kmi
  }

  #: end wrap
  #: begin prompt
  # Before each prompt: one line, read by builtins. Sets KMI_PROMPT, and the segment in PS1.
  function __kmi_prompt {
    \builtin local __kmi_status="$?" __kmi_label='' __kmi_mark='' __kmi_rest='' __kmi_bound='' __kmi_file
    __kmi_file="${KMI_STATE_DIR:-${__kmi_state:-${HOME-}/.kmi}}/prompt"
    if [[ -f $__kmi_file && -r $__kmi_file ]]; then
      { IFS=' ' \builtin read -r __kmi_label __kmi_mark __kmi_rest <"$__kmi_file"; } 2>/dev/null ||
        \builtin true
    fi
    # Inside a run the environment knows better.
    if [[ -n ${KMI_RUN_ID-} && -n ${KMI_ACTIVE_KEY-} && $KMI_ACTIVE_KEY != "$__kmi_label" ]]; then
      __kmi_label=$KMI_ACTIVE_KEY __kmi_mark=''
    fi
    ((${#__kmi_label} <= 64)) || __kmi_label=''
    # A project that is bound to other keys: the first of them, behind `>`.
    __kmi_file=${__kmi_file%prompt}bindings
    if [[ -z ${KMI_RUN_ID-} && -s $__kmi_file && -f $__kmi_file && -r $__kmi_file ]]; then
      while IFS=' ' \builtin read -r __kmi_bound __kmi_rest; do
        [[ $PWD/ == "${__kmi_rest%/}"/* && -f $__kmi_rest/.kmi.toml ]] && \builtin break
        __kmi_bound=''
      done 2>/dev/null <"$__kmi_file"
      case ,$__kmi_bound, in
      *,"$__kmi_label",* | *[!A-Za-z0-9._@/,-]*) __kmi_bound='' ;;
      esac
    fi
    case $__kmi_label in
    '' | *[!A-Za-z0-9._@/-]*) KMI_PROMPT='' ;;
    *)
      case $__kmi_mark in
      '!' | x) KMI_PROMPT="$__kmi_label $__kmi_mark" ;;
      *) KMI_PROMPT=$__kmi_label ;;
      esac
      ;;
    esac
    KMI_PROMPT+=${__kmi_bound:+">${__kmi_bound%%,*}"}
    # Text without `\`, `$` and backticks; bash does not look for them in a value anyway.
    __kmi_segment=${KMI_PROMPT:+"[$KMI_PROMPT] "}
    if [[ ${KMI_PROMPT_AUTO-1} != 0 && -z ${STARSHIP_SHELL-}${POSH_THEME-} ]]; then
      # shellcheck disable=SC2016 # bash expands it at each prompt
      case ${PS1-} in
      *KMI_PROMPT* | *__kmi_segment*) ;;
      *) \builtin shopt -q promptvars && PS1='${__kmi_segment-}'"${PS1-}" ;;
      esac
    fi
    \builtin return "$__kmi_status"
  }

  #: end prompt
  #: begin completion
  #: completion

  #: end completion
  #: begin prompt
  # Last in the row, so that the hooks before it see all of PIPESTATUS; and only once.
  if [[ ${PROMPT_COMMAND[*]-} != *__kmi_prompt* && ${precmd_functions[*]-} != *__kmi_prompt* ]]; then
    if [[ -n ${bash_preexec_imported-}${__bp_imported-} ]]; then
      precmd_functions+=(__kmi_prompt)
    elif [[ $(\builtin declare -p PROMPT_COMMAND 2>/dev/null) == 'declare -a'* ]]; then
      PROMPT_COMMAND+=(__kmi_prompt)
    else
      # On a line of its own: what is there may end in `;` or `&`, or in a comment.
      # shellcheck disable=SC2128,SC2178 # it is no array here
      PROMPT_COMMAND="${PROMPT_COMMAND:+$PROMPT_COMMAND$'\n'}__kmi_prompt"
    fi
  fi
  #: end prompt

fi
