# Completion of ztm for fish. Load it with:  ztm completion fish | source
# or for good:  ztm completion fish > ~/.config/fish/completions/ztm.fish

function __ztm_complete
    set -l words (commandline -opc)
    set -e words[1]
    set -l current (commandline -ct)
    set -l plain (string unescape -- "$current" 2>/dev/null)
    test -n "$plain"; or set plain "$current"
    set -l answer (command ztm __complete fish -- $words "$plain" 2>/dev/null </dev/null)
    set -l kind "$answer[1]"
    set -e answer[1]
    # Of --option=value only the value is a path.
    set -l option (string match -r -- '^--[^=]*=' "$current"; or echo '')
    set -l path (string replace -r -- '^--[^=]*=' '' "$current")
    switch "$kind"
        case words
            printf '%s\n' $answer
        case files
            printf '%s\n' $option(__fish_complete_path "$path")
        case dirs
            printf '%s\n' $option(__fish_complete_directories "$path")
    end
end

complete -c ztm -f -a '(__ztm_complete)'
