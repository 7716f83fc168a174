//! Combines the sections, keywords and codes of all parts of this program, and loads files for all
//! of them. The result has the proxy's configuration, and the inputs of the roles of other parts.

use crate::certificates;
use crate::features;
use crate::identity;
use address::config::Config;
use address::keyword::Read;
use configuration::files::NamedFile;
use configuration::outside::{Fallback, Outside};
use configuration::{
    ConfigurationPart, LoadOptions, Recording, RoleInput, RoleInterface, SectionKeywords,
};
use keyword::load::Loaded;
use language::difference::Vocabulary;
use language::keyword::Documented;
use language::source::Text;
use language::{Code, Diagnostic, Environment, Severity};
use route::expect::{self, Expectation};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

fn all() -> &'static [&'static ConfigurationPart] {
    static ALL: OnceLock<Vec<&'static ConfigurationPart>> = OnceLock::new();
    ALL.get_or_init(|| features::all().iter().map(|feature| feature.part).collect())
}

pub fn words() -> &'static SectionKeywords {
    static WORDS: OnceLock<SectionKeywords> = OnceLock::new();
    WORDS.get_or_init(|| SectionKeywords::from_parts(all().iter().map(|part| &part.sections)))
}

pub fn vocabulary() -> Vocabulary<'static> {
    configuration::vocabulary(all())
}

pub fn documented() -> Vec<Documented> {
    configuration::documented(all())
}

/// Documentation of the directives that the reader executes in every section.
pub const DIRECTIVES: [Documented; 8] = [
    directive(
        ".if",
        ".if <condition>",
        "Reads the following lines only if the condition is true, up to `.elif`, `.else` or `.endif`. A condition is a \
         number (0 is false), a predicate such as `defined(NAME)`, `streq(TEXT,TEXT)`, `feature(NAME)` or \
         `version_atleast(VERSION)`, or several with `!`, `&&`, `||` and parentheses.",
        ".if version_atleast(2.6)",
    ),
    directive(
        ".elif",
        ".elif <condition>",
        "Reads the following lines if the condition is true and none before it was.",
        ".elif defined(STAGING)",
    ),
    directive(
        ".else",
        ".else",
        "Reads the following lines if no condition before it was true.",
        ".else",
    ),
    directive(
        ".endif",
        ".endif",
        "Ends the block of the last `.if`.",
        ".endif",
    ),
    directive(
        ".diag",
        ".diag <message>",
        "Prints a message where diagnostic messages are enabled (`-dD`).",
        ".diag \"no certificate yet\"",
    ),
    directive(
        ".notice",
        ".notice <message>",
        "Prints a message at the start.",
        ".notice \"staging\"",
    ),
    directive(
        ".warning",
        ".warning <message>",
        "Prints a warning at the start.",
        ".warning \"no certificate yet\"",
    ),
    directive(
        ".alert",
        ".alert <message>",
        "Prints an error; the file is refused.",
        ".alert \"SITE is not set\"",
    ),
];

const fn directive(
    name: &'static str,
    syntax: &'static str,
    doc: &'static str,
    example: &'static str,
) -> Documented {
    Documented {
        kind: "directive",
        name,
        places: &[],
        syntax,
        doc,
        example,
        family: "Conditional blocks",
        built: true,
    }
}

pub fn codes() -> Vec<&'static Code> {
    let mut codes = [language::CODES, configuration::codes::CODES].concat();
    codes.extend(all().iter().flat_map(|part| (part.codes)()));
    codes.sort_by_key(|code| code.id);
    codes
}

#[derive(Debug)]
pub struct LoadedParts {
    /// Load result of the proxy, with the diagnostics of all sections. An error in any section
    /// leaves the proxy without a configuration.
    pub proxy: Loaded,
    parts: Vec<(&'static ConfigurationPart, Box<dyn Any>)>,
    expectations: Vec<Expectation>,
}

/// Input of one part's role in this version.
pub struct RolePayload {
    pub part: &'static ConfigurationPart,
    pub given: RoleInput,
}

impl LoadedParts {
    fn read(&self) -> Option<&Read> {
        let mut parts = self.parts.iter();
        parts.find_map(|(_, built)| built.downcast_ref())
    }

    /// Marks the files as a cluster version, on a member of that cluster.
    pub fn set_member(&mut self) {
        let mut parts = self.parts.iter_mut();
        if let Some(read) = parts.find_map(|(_, built)| built.downcast_mut::<Read>()) {
            read.is_member = true;
        }
    }

    pub fn addresses(&self) -> Option<Config> {
        self.read()?.config()
    }

    /// Returns the inputs of the roles that run besides the proxy, or none if a section has an
    /// error. `before` has the inputs of the previous version's roles.
    pub fn running(&self, before: &Payloads) -> Vec<RolePayload> {
        let all = self.parts.iter().filter_map(|(part, built)| {
            let before = before.get(part.name).map(|bytes| &**bytes);
            let given = part
                .run
                .as_ref()
                .map(|run| (run.role_input)(&**built, before));
            Some(RolePayload {
                part,
                given: given.flatten()?,
            })
        });
        // An error in any section prevents all roles from running.
        let good = self.proxy.config.is_some();
        all.filter(|_| good).collect()
    }

    /// Returns roles that run only to remove what earlier processes left on this machine, or none
    /// if a section has an error. `given` returns the input of a part's role for the cleanup, or
    /// None.
    pub fn left(
        &self,
        given: impl Fn(&ConfigurationPart, &RoleInterface, &dyn Any) -> Option<RoleInput>,
    ) -> Vec<RolePayload> {
        let all = self.parts.iter().filter_map(|(part, built)| {
            let run = part.run.as_ref()?;
            let given = given(part, run, &**built)?;
            Some(RolePayload { part, given })
        });
        // An error in any section prevents all roles from running.
        let is_correct = self.proxy.config.is_some();
        all.filter(|_| is_correct).collect()
    }

    pub fn without_roles(&mut self) {
        let addresses = self.read().and_then(Read::no_local_process);
        let others = self.running(&Payloads::new());
        let told = addresses.or_else(|| {
            let told = format!(
                "{} need a role, which this process does not start: start it with `evenkeel run -f FILE`",
                others.first()?.given.size
            );
            let code = &address::keyword::codes::NOT_HERE;
            Some(Diagnostic::global(code, Severity::Error, told))
        });
        self.refuse(told);
    }

    /// Evaluates the requests of `test` sections and adds an error for each unexpected result,
    /// unless the files have other errors. Returns the number of requests.
    pub fn check_expectations(&mut self) -> usize {
        if self.proxy.config.is_some() {
            let (recording, sources) = (&self.proxy.recording, &self.proxy.sources);
            let told = expect::unmet(&self.expectations, recording, sources);
            self.refuse(told);
        }
        self.expectations.len()
    }

    /// Warns about certificates that expire soon or have expired, unless the files have errors.
    pub fn warn_of_certificates(&mut self) {
        if self.proxy.config.is_some() {
            let ends = certificates::of(&self.proxy.recording);
            for told in certificates::warnings(&ends, tls::certified::now_s()) {
                self.proxy.diagnostics.push(&self.proxy.sources, told);
            }
        }
    }

    /// Adds errors. After the first one, the result has no configuration and no roles.
    fn refuse(&mut self, told: impl IntoIterator<Item = Diagnostic>) {
        for told in told {
            self.proxy.diagnostics.push(&self.proxy.sources, told);
            self.proxy.config = None;
            self.parts.clear();
        }
    }
}

/// Role inputs of a version, by part.
pub type Payloads = BTreeMap<String, Vec<u8>>;

/// Returns the differences between the role inputs of two versions, in lines of text.
pub fn differences(before: &Payloads, now: &[RolePayload]) -> Vec<String> {
    let runs = all()
        .iter()
        .filter_map(|part| Some((part.name, part.run.as_ref()?)));
    let lines = runs.flat_map(|(name, run)| {
        let before = before.get(name).map(|bytes| &**bytes);
        let now = now.iter().find(|running| running.part.name == name);
        let now = now.map(|running| &*running.given.payload);
        if before == now {
            Vec::new()
        } else {
            (run.difference)(before, now)
        }
    });
    lines.collect()
}

/// Returns why this machine cannot run these roles, one reason per line.
pub fn refusals(now: &[RolePayload]) -> Vec<String> {
    let of = |one: &RolePayload| {
        one.part
            .run
            .as_ref()
            .map(|run| (run.refusals)(&one.given.payload))
    };
    now.iter().filter_map(of).flatten().collect()
}

/// Loads files in the environment of this process. `foreign` is the configuration of those in
/// keepalived's language.
pub fn load_files(
    files: Vec<NamedFile>,
    local_peer: Option<&str>,
    options: LoadOptions,
    foreign: Option<&Config>,
) -> LoadedParts {
    load_files_with(files, local_peer, options, foreign, None)
}

/// Loads files as [`load_files`] does. The fallback records host names that do not resolve.
pub fn load_files_with(
    files: Vec<NamedFile>,
    local_peer: Option<&str>,
    options: LoadOptions,
    foreign: Option<&Config>,
    fallback: Option<Arc<Fallback>>,
) -> LoadedParts {
    let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let environment = identity::environment(&names, local_peer);
    let outside = Outside::default().with_fallback(fallback);
    load(files, environment, options, foreign, outside)
}

/// Loads files for all parts, together with the configuration of files in keepalived's language.
/// `outside` answers all queries for files, host names and accounts.
pub fn load(
    files: Vec<NamedFile>,
    environment: Environment,
    options: LoadOptions,
    foreign: Option<&Config>,
    outside: Outside,
) -> LoadedParts {
    let files = files.into_iter();
    let files = files.map(|(name, text)| (name, Text::new(text))).collect();
    let words = words().clone();
    let mut inputs = Recording::new(files, environment, identity::facts(), options, words);
    inputs.imports = foreign
        .into_iter()
        .flat_map(address::keyword::exports)
        .collect();
    let mut loaded = configuration::load(all(), inputs, outside);
    let mut parts = loaded.take_role_configurations(all());
    let mut built = parts.iter_mut().map(|(_, built)| built);
    if let Some(read) = built.find_map(|built| built.downcast_mut::<Read>()) {
        read.foreign = foreign.cloned();
    }
    LoadedParts {
        parts,
        expectations: loaded.take_part(&expect::PART),
        proxy: Loaded::of(loaded),
    }
}

#[cfg(all(test, feature = "complete"))]
mod secrets;

#[cfg(test)]
mod tests {
    use super::*;
    use language::render;

    fn load(text: &str, options: LoadOptions) -> LoadedParts {
        let files = vec![("site.cfg".to_owned(), text.as_bytes().to_vec())];
        load_files(files, None, options, None)
    }

    fn look(text: &str) -> LoadedParts {
        load(text, LoadOptions::default())
    }

    fn told(site: &LoadedParts) -> String {
        let loaded = &site.proxy;
        render::concise(&loaded.sources, &loaded.diagnostics, true)
    }

    const FILE: &str = "\
listen www
    bind 198.51.100.80:80
    mode http
    timeout client 1s
    timeout connect 1s
    timeout server 1s
    server a 127.0.0.1:1
virtual-ip www
    address 198.51.100.80/24
    interface eth0
    prefer alpha beta
    track backend www
";

    #[test]
    fn mixed_file_gives_both_configurations() {
        let site = look(FILE);
        assert_eq!(told(&site), "");
        let config = site.proxy.config.as_ref().expect("no error");
        assert!(config.is_virtual([198, 51, 100, 80].into()));
        assert_eq!(&*config.services[0].backends, &["www".into()]);
        let addresses = site.addresses().expect("no error");
        assert_eq!(addresses.instances[0].name, "www");
        let again = keyword::load::replay(site.proxy.recording.clone());
        let replayed = again.config.expect("no error");
        assert_eq!(replayed.services, config.services);
    }

    #[cfg(feature = "console")]
    #[test]
    fn proxy_knows_the_address_of_the_console() {
        let file = "listen l\n mode http\n bind 127.0.0.1:80\n stats uri /s\n timeout client 1s\n\
                    console\n bind 192.0.2.1:8601\n";
        let of = |text: &str| {
            let site = look(text);
            let config = keyword::load::replay(site.proxy.recording.clone()).config;
            let config = config.unwrap_or_else(|| panic!("{}", told(&site)));
            let page = config.proxies.iter().find_map(|proxy| proxy.stats.as_ref());
            page.expect("it has a page").console
        };
        let expected = configuration::ConsoleAddress {
            address: ([192, 0, 2, 1], 8601).into(),
            tls: true,
        };
        assert_eq!(of(file), Some(expected));
        let (without, _) = file.split_once("console").unwrap();
        assert_eq!(of(without), None);
    }

    #[test]
    fn console_is_a_guest_keyword_and_a_section() {
        let text = "\
volume mail
    size 1g
    backing file /srv/volumes
guest mail
    memory 1g
    cpus 1
    disk mail
    console serial
console
    bind 127.0.0.1:8600
";
        let site = look(text);
        let told = told(&site);
        assert!(!told.contains("error["), "{told}");
        let running = site.running(&Payloads::new());
        let parts: Vec<&str> = running.iter().map(|one| one.part.name).collect();
        assert!(
            parts.contains(&"guest") && parts.contains(&"console"),
            "{parts:?}"
        );
    }

    #[test]
    fn missing_tracked_backend_is_reported_at_its_word() {
        let site = look(&FILE.replace("track backend www", "track backend ww"));
        assert!(site.proxy.config.is_none());
        assert_eq!(
            told(&site),
            "site.cfg:12:19: error[E0301]: there is no backend 'ww' (did you mean 'www'?)\n"
        );
        // Another error in the section does not hide it.
        let text = FILE.replace("backend www", "backend ww\n    failover 10ms");
        let told = told(&look(&text));
        assert_eq!(told.matches("error[").count(), 2, "{told}");
        assert!(told.contains("there is no backend 'ww'"), "{told}");
    }

    #[test]
    fn error_in_an_address_refuses_the_whole_file() {
        let site = look(&FILE.replace("address 198", "adress 198"));
        assert!(site.proxy.config.is_none() && site.addresses().is_none());
        assert!(
            told(&site).contains("did you mean 'address'?"),
            "{}",
            told(&site)
        );
    }

    #[test]
    fn process_without_a_role_explains_how_to_start_one() {
        let mut site = look(FILE);
        site.without_roles();
        assert!(site.proxy.config.is_none() && site.addresses().is_none());
        assert!(told(&site).contains("E0665"), "{}", told(&site));
        let mut site = look("listen a\n    bind 127.0.0.1:1\n");
        site.without_roles();
        assert_eq!(told(&site).matches("error").count(), 0);
    }

    #[test]
    fn this_machine_has_a_loopback_interface() {
        let interfaces = Outside::default().interfaces();
        let lo = interfaces.iter().find(|i| i.name == "lo");
        let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
        assert!(lo.is_some_and(|lo| lo.addresses.contains(&(loopback, 8))));
    }

    #[cfg(feature = "demonstration")]
    #[test]
    fn example_of_the_platform_loads_on_both_nodes() {
        for node in ["alpha", "beta"] {
            let options = LoadOptions {
                node: Some(node.to_owned()),
                nodes: vec!["alpha".to_owned(), "beta".to_owned()],
                ..LoadOptions::default()
            };
            let site = load(include_str!("../../../examples/platform.cfg"), options);
            let loads = site.proxy.config.is_some();
            assert_eq!((&*told(&site), loads), ("", true), "{node}");
        }
    }

    #[test]
    fn example_of_a_pair_is_valid_on_both_machines() {
        let site = look(include_str!("../../../examples/pair.cfg"));
        assert_eq!(told(&site), "");
        let addresses = site.addresses().expect("no error");
        let instance = &addresses.instances[0];
        assert_eq!(instance.options.advert_interval.as_millis(), 20);
        assert_eq!(instance.prefer, ["alpha", "beta"]);
    }

    #[cfg(feature = "guest")]
    #[test]
    fn example_of_guests_is_valid_on_both_nodes() {
        for node in ["alpha", "beta"] {
            let options = LoadOptions {
                node: Some(node.to_owned()),
                nodes: vec!["alpha".to_owned(), "beta".to_owned()],
                ..LoadOptions::default()
            };
            let site = load(include_str!("../../../examples/guests.cfg"), options);
            assert_eq!(told(&site), "");
            let running = site.running(&Payloads::new());
            let guests = running
                .iter()
                .find(|one| one.part.name == guest::keyword::NAME);
            let given = &guests.expect("it has guests").given;
            assert_eq!(given.size.to_string(), "2 guests");
            let guests: guest::config::Guests =
                part::codec::decode(&given.payload).expect("our own bytes");
            assert_eq!(guests.me, node);
            let bridge = &guests.guests["mail"].nics[0].bridge;
            assert_eq!(bridge, if node == "alpha" { "br0" } else { "vmbr0" });
        }
    }

    #[cfg(feature = "guest")]
    #[test]
    fn keywords_of_all_parts_are_known_in_a_node_section() {
        let site =
            look("node alpha\n    adress 192.0.2.1\n    fenc exec /off\n    rom memory 4g\n");
        let told = told(&site);
        for near in ["address", "fence", "room"] {
            assert!(
                told.contains(&format!("(did you mean '{near}'?)")),
                "{told}"
            );
        }
        let rows = documented();
        let fence = rows.iter().filter(|row| row.name == "fence ipmi");
        assert_eq!(fence.map(|row| row.places).collect::<Vec<_>>(), [["node"]]);
    }

    /// Errors of an example that refers to files, sections and lines that it does not contain.
    const OF_READERS: [&str; 20] = [
        // The following codes are errors about missing files.
        "E0111", "E0231", "E0814", "E0906", "E0981", // Other sections.
        "E0301", "E0440", "E0816", "E0864", // The other lines of a section.
        "E0805", "E0845", "E0846", "E0955", "E0980", "E0801", // A secret that is cut off.
        "E0903", // Programs and users of the reader's machine.
        "E0663", "E0720", "E1071", "E1072",
    ];

    #[cfg(feature = "complete")]
    #[test]
    fn every_example_of_the_documents_loads_alone_and_on_a_cluster() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let sections: Vec<&str> = words().names().collect();
        let begins = |line: &str| {
            let word = line.split_whitespace().next().unwrap_or_default();
            sections.contains(&word) && line.starts_with(word)
        };
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("the documents") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let document = std::fs::read_to_string(&path).expect("a document");
            for block in document.split("\n```").skip(1).step_by(2) {
                let lines = block.lines().skip(1);
                let text: String = lines
                    .filter(|line| line.trim() != "…")
                    .map(|line| format!("{line}\n"))
                    .collect();
                let mut used = text
                    .lines()
                    .map(|line| line.split('#').next().unwrap_or(line));
                if !used
                    .find(|line| !line.trim().is_empty())
                    .is_some_and(begins)
                {
                    continue;
                }
                seen += 1;
                let member = LoadOptions {
                    node: Some("alpha".to_owned()),
                    nodes: vec!["alpha".to_owned(), "beta".to_owned()],
                    version: "version 1".to_owned(),
                    ..LoadOptions::default()
                };
                let alone = told(&load(&text, LoadOptions::default()));
                let is_of_reader = |line: &&str| OF_READERS.iter().any(|code| line.contains(code));
                let errors = alone.lines().filter(|line| line.contains(": error["));
                let wrong: Vec<&str> = errors.filter(|line| !is_of_reader(line)).collect();
                assert!(wrong.is_empty(), "{}:\n{text}{wrong:#?}", path.display());
                // Ignores missing cluster settings, except for the key of a farm.
                let shared = told(&load(&text, member));
                let name = path.display();
                let has_key = alone.contains("E0980") || !shared.contains("E0983");
                assert!(has_key, "{name}:\n{text}{shared}");
            }
        }
        assert!(seen > 20, "{seen}");
    }

    #[cfg(feature = "complete")]
    #[test]
    fn configured_addresses_are_excluded_from_boot_ranges() {
        let site_of = |machines: &str| {
            let text = format!(
                "node alpha\n address 10.20.0.2\nnode beta\n address 10.20.0.103\nvirtual-ip www\n \
                 address 10.20.0.105/24 fd00:20::105/64\n interface lo\n prefer alpha beta\n\
                 listen web\n mode http\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n \
                 bind 10.20.0.106:80\n bind 10.20.0.110:80 transparent\n on beta bind 10.20.0.107:80\n server one 10.20.0.108:80\n\
                 boot lan\n interface lo\n network 10.20.0.0/24\n network6 fd00:20::/64\n \
                 range 10.20.0.100 10.20.0.119\n range6 fd00:20::100 fd00:20::1ff\n dns 10.20.0.109 10.20.0.1\n \
                 image rescue disk\n{machines}"
            );
            let options = LoadOptions {
                node: Some("alpha".to_owned()),
                ..LoadOptions::default()
            };
            load(&text, options)
        };
        let site = site_of("");
        assert_eq!(told(&site).matches("error[").count(), 0, "{}", told(&site));
        let running = site.running(&Payloads::new());
        let boot = running.iter().find(|one| one.part.name == "boot");
        let boots: boot::config::BootConfig =
            part::codec::decode(&boot.expect("it has one").given.payload).expect("our own bytes");
        let lan = &boots.lans["lan"];
        let four = |last| std::net::IpAddr::from([10, 20, 0, last]);
        let six = "fd00:20::105".parse().expect("an address");
        let of_nodes = [four(103), four(105), four(106), six];
        assert_eq!(lan.of_nodes, of_nodes.into());
        assert_eq!(lan.of_others, [107, 108, 109, 110].map(four).into());
        assert_eq!(lan.virtual_addresses, [six].into());
        for (address, owner) in [
            ("address 10.20.0.103", "node 'beta'"),
            ("address 10.20.0.105", "virtual-ip 'www'"),
            ("address 10.20.0.106", "`bind` of 'web'"),
            ("address6 fd00:20::105", "virtual-ip 'www'"),
        ] {
            let line = format!(" machine m mac 52:54:00:00:00:07 {address} image rescue\n");
            let told = told(&site_of(&line));
            let words = format!("is the address of {owner}");
            assert!(told.contains("E1070") && told.contains(&words), "{told}");
        }
        for (address, owner) in [
            ("10.20.0.103", "node 'beta'"),
            ("10.20.0.105", "virtual-ip 'www'"),
            ("10.20.0.106", "`bind` of 'web'"),
            ("fd00:20::105", "virtual-ip 'www'"),
        ] {
            let guest = format!(
                "volume v\n size 1g\nguest g\n prefer alpha\n memory 64m\n disk v\n nic br0 address {address}\n"
            );
            let told = told(&site_of(&guest));
            let words = format!("{address} is the address of {owner}");
            assert!(told.contains("E1215") && told.contains(&words), "{told}");
        }
        // The host of a farm, or a server, may boot here with its address.
        let line = " machine m mac 52:54:00:00:00:07 address 10.20.0.108 image rescue\n";
        assert!(!told(&site_of(line)).contains("error["));
    }

    #[test]
    fn listener_on_a_virtual_address_causes_no_warning() {
        let text =
            "listen www\n    bind 198.51.100.80:80\n    mode http\n    server a 127.0.0.1:1\n";
        let own = "virtual-ip www\n    address 198.51.100.80/24\n    interface lo\n";
        let load_here = |text: &str| {
            let options = LoadOptions {
                resolve_names: true,
                here: true,
                ..LoadOptions::default()
            };
            told(&load(text, options))
        };
        assert!(load_here(text).contains("W0108"));
        let told = load_here(&format!("{text}{own}"));
        assert!(!told.contains("W0108"), "{told}");
    }
}
