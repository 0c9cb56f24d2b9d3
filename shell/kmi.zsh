# kmi for zsh: `eval "$(kmi init zsh)"` in ~/.zshrc.
#
# A line that ends in `#:` and a word is changed by `kmi init`; what stands between `#: begin` and
# `#: end` is left out when it was not wanted. As it is, the file works with the `kmi` on PATH.

if [[ -o interactive ]]; then

  # The state directory, where kmi's env file moved it. KMI_STATE_DIR goes first.
  \builtin typeset -g __kmi_state='' #: state

  #: begin wrap
  # The client, on a key that works. `command kimi` is the client itself.
  # The word `function` keeps an alias of that name out of its own definition.
  function kimi { #: name
    \builtin command kmi run -- kimi "$@" #: kmi
  }

  #: end wrap
  #: begin prompt
  # Before each prompt: one line, read by builtins. Sets KMI_PROMPT, and the segment in PROMPT.
  function __kmi_prompt {
    \builtin emulate -L zsh
    \builtin local file="${KMI_STATE_DIR:-${__kmi_state:-$HOME/.kmi}}/prompt"
    \builtin local label='' mark='' rest='' bound=''
    if [[ -f $file && -r $file ]]; then
      { IFS=' ' \builtin read -r label mark rest <"$file" } 2>/dev/null
    fi
    # Inside a run the environment knows better.
    if [[ -n $KMI_RUN_ID && -n $KMI_ACTIVE_KEY && $KMI_ACTIVE_KEY != $label ]]; then
      label=$KMI_ACTIVE_KEY mark=''
    fi
    [[ $label == *[^A-Za-z0-9._@/-]* || $#label -gt 64 ]] && label=''
    [[ $mark == ('!'|x) ]] || mark=''
    # A project that is bound to other keys: the first of them, behind `>`.
    file="${file%prompt}bindings"
    if [[ -z $KMI_RUN_ID && -s $file && -f $file && -r $file ]]; then
      while IFS=' ' \builtin read -r bound rest; do
        [[ $PWD/ == "${rest%/}"/* && -f $rest/.kmi.toml ]] && \builtin break
        bound=''
      done <"$file" 2>/dev/null
      [[ ,$bound, == (*,"$label",*|*[^A-Za-z0-9._@/,-]*) ]] && bound=''
    fi
    \builtin typeset -g KMI_PROMPT="$label${label:+${mark:+ $mark}}${bound:+>${bound%%,*}}"
    # PROMPT names it by its place in psvar, whose text zsh shows as it is: no %, !, $ counts.
    psvar[19]=${KMI_PROMPT:+[$KMI_PROMPT] }
    if [[ ${KMI_PROMPT_AUTO-1} != 0 && -z $STARSHIP_SHELL$POSH_THEME$P9K_VERSION \
      && $PROMPT != *(KMI_PROMPT|%19v)* ]]; then
      PROMPT="%19v$PROMPT"
    fi
  }

  #: end prompt
  #: begin completion
  #: completion

  # Now, if compinit ran; else at the first prompt after it did.
  function __kmi_compdef {
    \builtin emulate -L zsh
    (( $+functions[compdef] )) || \builtin return 0
    compdef _kmi kmi
    add-zsh-hook -d precmd __kmi_compdef
  }

  #: end completion
  \builtin autoload -Uz add-zsh-hook
  #: begin prompt
  add-zsh-hook precmd __kmi_prompt
  #: end prompt
  #: begin completion
  add-zsh-hook precmd __kmi_compdef
  __kmi_compdef
  #: end completion

fi
