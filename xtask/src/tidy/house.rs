//! Checks the dependencies between crates against a table of permitted ones. Any other dependency
//! is refused, and so is a crate without a row. ARCHITECTURE.md has the same table, and a test
//! compares them.

use super::seams;
use super::tree::{THIRD_PARTY, output};
use super::{Finding, TidyError, Wrong};
use std::path::Path;
use std::process::Command;

/// Crates by the name of their package without `evenkeel-`, and the crates on which each may
/// depend.
const HOUSE: &[(&str, Knows)] = &[
    ("language", Knows::Only(&[])),
    ("protocol", Knows::Only(&[])),
    ("part", Knows::Only(&["language"])),
    ("wire", Knows::Only(&[])),
    ("namespace", Knows::Only(&[])),
    ("lab", Knows::Only(&["namespace"])),
    ("reactor", Knows::Only(&[])),
    ("pcre", Knows::Only(&[])),
    ("record", Knows::Only(&[])),
    ("configuration", Knows::Only(&["language"])),
    ("image", Knows::Only(&["language"])),
    ("http", Knows::Only(&["protocol"])),
    ("tls", Knows::Only(&["reactor", "protocol"])),
    ("mux", Knows::Only(&["reactor", "http", "tls", "protocol"])),
    (
        "model",
        Knows::Only(&[
            "configuration",
            "language",
            "protocol",
            "http",
            "reactor",
            "tls",
            "mux",
            "pcre",
        ]),
    ),
    (
        "keyword",
        Knows::Only(&[
            "model",
            "configuration",
            "language",
            "protocol",
            "http",
            "reactor",
            "tls",
            "mux",
        ]),
    ),
    (
        "proxy",
        Knows::Only(&[
            "model",
            "keyword",
            "configuration",
            "language",
            "protocol",
            "part",
            "http",
            "reactor",
            "tls",
            "mux",
        ]),
    ),
    (
        "route",
        Knows::Only(&[
            "configuration",
            "keyword",
            "language",
            "model",
            "part",
            "proxy",
        ]),
    ),
    (
        "confinement",
        Knows::Only(&["configuration", "keyword", "language", "model", "part"]),
    ),
    (
        "proxy-role",
        Knows::Only(&[
            "configuration",
            "confinement",
            "keyword",
            "language",
            "model",
            "part",
            "protocol",
            "proxy",
            "reactor",
            "supervisor",
        ]),
    ),
    (
        "address",
        Knows::Only(&[
            "command",
            "configuration",
            "language",
            "protocol",
            "part",
            "supervisor",
        ]),
    ),
    (
        "cluster",
        Knows::Only(&["configuration", "language", "protocol", "part"]),
    ),
    (
        "volume",
        Knows::Only(&[
            "command",
            "configuration",
            "image",
            "language",
            "protocol",
            "part",
            "supervisor",
            "wire",
        ]),
    ),
    (
        "guest",
        Knows::Only(&[
            "configuration",
            "image",
            "language",
            "protocol",
            "part",
            "wire",
        ]),
    ),
    (
        "guest-command",
        Knows::Only(&["command", "guest", "image", "part", "supervisor", "volume"]),
    ),
    (
        "cluster-command",
        Knows::Only(&[
            "cluster",
            "command",
            "configuration",
            "guest",
            "keyword",
            "language",
            "part",
            "supervisor",
            "tls",
            "volume",
        ]),
    ),
    (
        "boot",
        Knows::Only(&[
            "command",
            "configuration",
            "image",
            "language",
            "nodes",
            "protocol",
            "record",
            "part",
            "supervisor",
            "wire",
        ]),
    ),
    (
        "access",
        Knows::Only(&["configuration", "language", "part", "protocol"]),
    ),
    (
        "farm",
        Knows::Only(&[
            "access",
            "command",
            "configuration",
            "language",
            "nodes",
            "protocol",
            "part",
            "record",
            "screen",
            "supervisor",
            "tls",
            "wire",
        ]),
    ),
    (
        "demo",
        Knows::Only(&[
            "configuration",
            "confinement",
            "guest",
            "keyword",
            "language",
            "model",
            "namespace",
            "part",
            "proxy",
            "proxy-role",
        ]),
    ),
    ("nodes", Knows::Only(&["language", "part", "wire"])),
    ("supervisor", Knows::Only(&["language", "protocol", "part"])),
    ("command", Knows::Only(&["language", "part", "supervisor"])),
    (
        "console",
        Knows::Only(&[
            "access",
            "command",
            "configuration",
            "language",
            "nodes",
            "overview",
            "part",
            "screen",
            "wire",
        ]),
    ),
    ("overview", Knows::Only(&["part"])),
    (
        "instance-command",
        Knows::Only(&[
            "command",
            "language",
            "overview",
            "part",
            "proxy",
            "supervisor",
        ]),
    ),
    ("screen", Knows::Only(&["part"])),
    ("evenkeel", Knows::All),
    ("xtask", Knows::All),
    ("scenarios", Knows::All),
    ("sample", Knows::All),
    ("arbiter", Knows::Only(&["evenkeel"])),
];

/// Crate on which the tests of every crate may depend; of programs, only `xtask`.
const KNOWN_TO_TESTS: &str = "lab";
const BENCHMARKS: &str = "xtask";

/// Crates on which no other crate may depend.
const KNOWN_TO_NOBODY: [&str; 5] = ["evenkeel", "xtask", "scenarios", "sample", "arbiter"];

/// The binaries with a part more, and with fewer parts, and the binary on which they may depend.
const BINARIES: [(&str, &str); 2] = [("sample", "evenkeel"), ("arbiter", "evenkeel")];

#[derive(Debug)]
enum Knows {
    Only(&'static [&'static str]),
    All,
}

/// A crate and the crates of ours that its manifest names.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Arrows {
    pub(super) krate: String,
    pub(super) manifest: String,
    /// A build without tests has the test seams.
    pub(super) has_seams: bool,
    /// Dependencies, each with whether it is for tests only.
    pub(super) to: Vec<(String, bool)>,
}

/// Reads all manifests through cargo, which parses every form of a dependency.
pub(super) fn arrows(root: &Path) -> Result<Vec<Arrows>, TidyError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]);
    let json = output("cargo metadata", command)?;
    let metadata: serde_json::Value = serde_json::from_slice(&json).map_err(TidyError::Metadata)?;
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]);
    Ok(packages
        .iter()
        .map(|package| Arrows {
            krate: short(&package["name"]),
            manifest: manifest(&package["manifest_path"], &metadata["workspace_root"]),
            has_seams: has_seams(package),
            to: list(&package["dependencies"])
                .iter()
                .filter(|dependency| is_ours(&dependency["path"]))
                .map(|dependency| (short(&dependency["name"]), dependency["kind"] == "dev"))
                .collect(),
        })
        .collect())
}

/// Returns whether the default features or a dependency outside of tests enable the test seams.
fn has_seams(package: &serde_json::Value) -> bool {
    let names_seams = |features: &serde_json::Value| {
        let features = features.as_array().into_iter().flatten();
        let mut names = features.filter_map(serde_json::Value::as_str);
        names.any(|name| name == seams::FEATURE || name.ends_with("/test-seams"))
    };
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let mut of_product = dependencies.filter(|dependency| dependency["kind"] != "dev");
    names_seams(&package["features"]["default"])
        || of_product.any(|dependency| names_seams(&dependency["features"]))
}

/// Returns whether a dependency is a crate of this repository: sources of others count as
/// published.
fn is_ours(path: &serde_json::Value) -> bool {
    path.as_str()
        .is_some_and(|path| !path.contains(&format!("/{THIRD_PARTY}")))
}

fn short(name: &serde_json::Value) -> String {
    let name = name.as_str().unwrap_or_default();
    name.strip_prefix("evenkeel-").unwrap_or(name).to_owned()
}

fn manifest(path: &serde_json::Value, root: &serde_json::Value) -> String {
    let path = Path::new(path.as_str().unwrap_or_default());
    let relative = path.strip_prefix(root.as_str().unwrap_or_default());
    relative.unwrap_or(path).display().to_string()
}

pub(super) fn check(crates: &[Arrows]) -> Vec<Finding> {
    let mut found = Vec::new();
    for krate in crates {
        let mut push = |wrong| {
            found.push(Finding {
                file: krate.manifest.clone(),
                line: 1,
                wrong,
            });
        };
        let Some((_, knows)) = HOUSE.iter().find(|(name, _)| *name == krate.krate) else {
            push(Wrong::NoRoom {
                krate: krate.krate.clone(),
            });
            continue;
        };
        for (to, dev) in &krate.to {
            let allowed = match knows {
                _ if BINARIES.contains(&(krate.krate.as_str(), to.as_str())) => true,
                _ if KNOWN_TO_NOBODY.contains(&to.as_str()) => false,
                Knows::All => *dev || to != KNOWN_TO_TESTS || krate.krate == BENCHMARKS,
                Knows::Only(list) => list.contains(&to.as_str()) || (*dev && to == KNOWN_TO_TESTS),
            };
            if !allowed {
                push(Wrong::Arrow {
                    from: krate.krate.clone(),
                    to: to.clone(),
                    dev: *dev,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fine(krate: &str, to: &str, dev: bool) -> bool {
        let arrows = Arrows {
            krate: krate.to_owned(),
            manifest: "Cargo.toml".to_owned(),
            has_seams: false,
            to: vec![(to.to_owned(), dev)],
        };
        check(&[arrows]).is_empty()
    }

    #[test]
    fn only_the_arrows_of_the_design_are_allowed() {
        for (from, to, dev, fine) in [
            ("proxy", "language", false, true),
            ("proxy", "cluster", false, false),
            ("cluster", "proxy", true, false),
            ("model", "keyword", false, false),
            ("model", "pcre", false, true),
            ("keyword", "pcre", false, false),
            ("keyword", "model", false, true),
            ("keyword", "proxy", true, false),
            ("proxy", "lab", false, false),
            ("proxy", "lab", true, true),
            ("lab", "protocol", false, false),
            ("lab", "namespace", false, true),
            ("evenkeel", "lab", false, false),
            ("evenkeel", "lab", true, true),
            ("xtask", "lab", false, true),
            ("evenkeel", "proxy", false, true),
            ("xtask", "evenkeel", false, false),
            ("attic", "language", false, false),
        ] {
            assert_eq!(is_fine(from, to, dev), fine, "{from} -> {to}, dev {dev}");
        }
    }

    /// Reads the table of ARCHITECTURE.md: each crate with its dependencies, sorted.
    fn documented() -> std::collections::BTreeMap<String, Vec<String>> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows = text
            .split_once("| crate | may depend on |")
            .unwrap()
            .1
            .lines();
        let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
        let named = |text: &str| -> Vec<String> {
            text.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        };
        let mut all = std::collections::BTreeMap::new();
        for row in rows.filter(|row| !row.contains("| all")) {
            let (names, dependencies) = row.trim_matches('|').split_once('|').unwrap();
            let mut allowed = std::collections::BTreeSet::new();
            for part in dependencies.split(';') {
                match part.trim().strip_prefix("as ") {
                    None => allowed.extend(named(part)),
                    Some(like) => {
                        let mut like = named(like).into_iter();
                        let first: &Vec<String> = &all[&like.next().unwrap()];
                        let without: Vec<String> = like.collect();
                        allowed.extend(first.iter().filter(|one| !without.contains(one)).cloned());
                    }
                }
            }
            for name in named(names) {
                all.insert(name, allowed.iter().cloned().collect());
            }
        }
        all
    }

    #[test]
    fn architecture_lists_the_same_dependencies() {
        let rows = HOUSE.iter().filter_map(|(name, knows)| match knows {
            Knows::Only(list) => {
                let mut list: Vec<String> = list.iter().map(|one| (*one).to_owned()).collect();
                list.sort();
                Some(((*name).to_owned(), list))
            }
            Knows::All => None,
        });
        assert_eq!(documented(), rows.collect());
    }

    #[test]
    fn manifests_are_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let found = arrows(&root).unwrap_or_else(|error| panic!("{error}"));
        let proxy = found.iter().find(|a| a.krate == "proxy");
        let proxy = proxy.unwrap_or_else(|| panic!("no proxy in {found:?}"));
        assert_eq!(proxy.manifest, "crates/proxy/Cargo.toml");
        assert!(proxy.to.contains(&("language".to_owned(), false)));
    }
}
