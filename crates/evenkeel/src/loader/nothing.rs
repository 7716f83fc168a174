//! Finds cluster versions in which no node has anything to run, so that the loader refuses them: a
//! truncated file, or one for another purpose. Accepting it would end every service. The nodes are
//! those that the lines name; no member is queried.

use super::addresses;
use super::file_set;
use crate::parts::{LoadedParts, Payloads};
use address::config::Config;
use cluster::file_set::FileSet;
use cluster::keyword::ConfigSection;
use configuration::LoadOptions;

const NOTHING: &str = "nothing to run on any node: the files have no listener (`bind`), virtual address, volume, guest, \
    farm, boot network or console. All services would end, so nothing was changed. Check that the files are complete; to end all \
    services, stop the nodes (`systemctl stop evenkeel-cluster`)";

/// Returns the message that no node of the cluster would run anything of this version; None if a
/// node would, or if that is unclear. `site` is the version as this node loads it; `runs` is true
/// if this node runs something now.
pub(super) fn anywhere(
    set: &FileSet,
    options: &LoadOptions,
    site: &LoadedParts,
    foreign: Option<&Config>,
    runs: bool,
) -> Option<&'static str> {
    if has_some(site) || depends_on_conditions(set) {
        return None;
    }
    let section = ConfigSection::read(set, &file_set::grammar(set));
    if !runs && !section.follow.is_empty() {
        // Accepts a first version that only names the repository which contains the rest.
        return None;
    }
    let nodes = site.proxy.recording.nodes().into_iter();
    let mut names = nodes.flat_map(|nodes| nodes.known_nodes().iter().chain(nodes.named()));
    let elsewhere = names.any(|name| {
        let of_node = FileSet {
            node: name.clone(),
            ..set.clone()
        };
        let mut files = file_set::main_files(&of_node);
        addresses::split(&mut files);
        has_some(&file_set::load(
            &of_node,
            files,
            options.clone(),
            foreign,
            None,
        ))
    });
    (!elsewhere).then_some(NOTHING)
}

/// Returns true if the version has listeners or roles. Files with errors count as having some.
fn has_some(site: &LoadedParts) -> bool {
    let listens = site
        .proxy
        .config
        .as_ref()
        .is_none_or(|config| config.listens());
    listens || !site.running(&Payloads::new()).is_empty()
}

/// Returns true if a main file contains `.if`: on other machines the condition may choose other
/// lines.
fn depends_on_conditions(set: &FileSet) -> bool {
    let mains = set.files.iter().filter(|file| file.main);
    mains
        .flat_map(|file| file.bytes.split(|byte| *byte == b'\n'))
        .any(|line| line.trim_ascii_start().starts_with(b".if"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::file_set::SetFile;

    fn refused_on(node: &str, text: &str, runs: bool) -> bool {
        let set = FileSet {
            node: node.to_owned(),
            files: vec![SetFile {
                path: "/site.cfg".to_owned(),
                main: true,
                secret: false,
                mode: 0o644,
                bytes: text.as_bytes().to_vec(),
            }],
            ..FileSet::default()
        };
        let options = LoadOptions::default();
        let site = file_set::load(
            &set,
            file_set::main_files(&set),
            options.clone(),
            None,
            None,
        );
        assert!(site.proxy.config.is_some(), "no error");
        anywhere(&set, &options, &site, None, runs).is_some()
    }

    const LISTENS: &str =
        "listen l\n mode http\n timeout client 1s\n on beta bind 127.0.0.1:80\n stats uri /\n";

    #[test]
    fn files_that_give_no_node_anything_to_run_are_refused() {
        for text in [
            "",
            "\n",
            "# here was a farm\n",
            "global\n",
            "config\n    judge 30s\n",
            "backend b\n    server s 127.0.0.1:1\n",
        ] {
            assert!(refused_on("alpha", text, true), "{text}");
            assert!(refused_on("alpha", text, false), "{text}");
        }
    }

    #[test]
    fn a_node_may_have_nothing_if_another_one_has_something() {
        for node in ["alpha", "beta", "gamma"] {
            assert!(!refused_on(node, LISTENS, true), "{node}");
        }
        let by_condition = ".if streq(\"$HOSTNAME\",beta)\nglobal\n.endif\n";
        assert!(!refused_on("alpha", by_condition, true));
    }

    #[test]
    fn the_first_version_may_have_a_repository_only() {
        let text = "config\n    follow git https://code.example.org/site as /etc/site\n";
        assert!(!refused_on("alpha", text, false));
        assert!(refused_on("alpha", text, true), "it would end what runs");
    }
}
