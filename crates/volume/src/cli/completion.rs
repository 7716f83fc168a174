//! Adds the names of volumes to shell completion scripts. The script runs `evenkeel volume list`
//! when the operator presses the completion key.

use clap_complete::Shell;

/// Shell command that prints the names. The table may be followed by lines that begin with `NAME:`.
const NAMES: &str = "evenkeel volume list 2>/dev/null | awk 'NR > 1 && $1 !~ /:$/ {print $1}'";

/// Original and replaced text in the zsh script, which completes the name of a volume.
const ZSH: [&str; 2] = [
    "NAME -- The volume:_default",
    "NAME -- The volume:_evenkeel_volumes",
];
/// Text at which the zsh script starts to run.
const ZSH_END: &str = "if [ \"$funcstack[1]\"";

pub fn with_volumes(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => format!(
            "{script}
# The names of volumes, as the running instance has them.
_evenkeel_volumes() {{
    if [[ ${{COMP_CWORD}} -eq 3 && ${{COMP_WORDS[1]}} == volume && ${{COMP_WORDS[3]}} != -* ]]; then
        case ${{COMP_WORDS[2]}} in
            list|help) ;;
            *)
                COMPREPLY=($(compgen -W \"$({NAMES})\" -- \"${{COMP_WORDS[3]}}\"))
                return 0
                ;;
        esac
    fi
    _evenkeel \"$@\"
}}
complete -F _evenkeel_volumes -o bashdefault -o default evenkeel
"
        ),
        Shell::Zsh => {
            let function = format!(
                "_evenkeel_volumes() {{
    local -a names
    names=(${{(f)\"$({NAMES})\"}})
    _describe 'volume' names
}}

{ZSH_END}"
            );
            script
                .replace(ZSH[0], ZSH[1])
                .replacen(ZSH_END, &function, 1)
        }
        Shell::Fish => {
            let commands = "show create grow attach detach remove export import snapshot restore clone \
                            verify resync hand-over adopt serve-alone reopen accept admit";
            format!(
                "{script}complete -c evenkeel -n \"__fish_seen_subcommand_from volume; and \
                 __fish_seen_subcommand_from {commands}\" -f -a \"({})\"\n",
                NAMES.replace('$', "\\$")
            )
        }
        _ => script.to_owned(),
    }
}
