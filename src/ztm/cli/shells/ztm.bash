# Completion of ztm for bash. Load it with:  source <(ztm completion bash)
# or for good:  ztm completion bash > ~/.local/share/bash-completion/completions/ztm

_ztm() {
  local kind= word
  COMPREPLY=()
  {
    IFS= read -r kind
    while IFS= read -r word; do
      COMPREPLY+=("$word")
    done
  } < <(command ztm __complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null </dev/null)
  case $kind in
    files) compopt -o default 2>/dev/null ;;
    dirs) compopt -o dirnames 2>/dev/null ;;
  esac
}

complete -F _ztm ztm
