# kmi for the plugin managers of zsh: oh-my-zsh, zinit, antigen, zplug and others source this file of
# a clone of the repository. It does what `eval "$(kmi init zsh)"` does, without starting kmi, whose
# `kmi` has to be on PATH; without it nothing happens, and `kimi` stays what it is.

if [[ -o interactive ]] && (( ${+commands[kmi]} )); then
  # Functions of plugins are looked for in the directories of fpath; compinit may come before or after.
  fpath+=("${${(%):-%x}:A:h}/shell/completions")
  builtin autoload -Uz _kmi
  builtin source "${${(%):-%x}:A:h}/shell/kmi.zsh"
fi
