//! Tests of versions that earlier programs accepted and newer checks refuse: each is served with a
//! warning.

use super::tests::{FileSetDirectory, version};
use super::*;
use language::render;

fn addresses_of(
    set: &FileSet,
    fallback: Option<&Arc<Fallback>>,
) -> (Option<address::config::Config>, String) {
    let options = LoadOptions {
        here: true,
        ..LoadOptions::default()
    };
    let site = load(set, main_files(set), options, None, fallback.cloned());
    let told = render::concise(&site.proxy.sources, &site.proxy.diagnostics, true);
    (site.addresses(), told)
}

#[test]
fn accepted_version_is_served_without_programs_that_are_unsafe_or_missing() {
    let scratch = FileSetDirectory::new("programs");
    let program = scratch.write("p", "#!/bin/sh\n");
    let path = program.display();
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&program, permissions).expect("its mode");
    };
    let is_root = rustix::process::geteuid().is_root();
    let cases = [
        (
            "E1071",
            0o757,
            format!("notify {path}"),
            format!("track script {path}"),
            is_root,
        ),
        (
            "E0663",
            0o644,
            format!("notify {path}"),
            format!("track script {path}"),
            true,
        ),
        (
            "E0663",
            0o755,
            "notify /no/such".to_owned(),
            "track script /no/such".to_owned(),
            true,
        ),
        (
            "E1072",
            0o755,
            format!("notify {path}"),
            "script-user no-such-user".to_owned(),
            true,
        ),
    ];
    for (code, bits, one, two, runs) in cases {
        mode(bits);
        let text = format!(
            "virtual-ip x\n address 192.0.2.9/24\n interface lo\n {one}\n {two}\n track ping 127.0.0.1\n"
        );
        let set = version(&text);
        let (config, told) = addresses_of(&set, None);
        if !runs {
            continue;
        }
        assert!(
            config.is_none() && told.contains(&format!("error[{code}]")),
            "{told}"
        );
        let fallback = Arc::new(Fallback::new(Default::default(), std::time::Duration::ZERO));
        let (config, told) = addresses_of(&set, Some(&fallback));
        let config = config.unwrap_or_else(|| panic!("{code}: {told}"));
        assert!(told.contains(&format!("warning[{code}]")), "{told}");
        let instance = &config.instances[0];
        assert!(instance.notify.any.is_none(), "{code}");
        // Only the built-in ping remains of the scripts.
        let words: Vec<&str> = config
            .scripts
            .iter()
            .flat_map(|script| script.words.first().map(String::as_str))
            .collect();
        assert_eq!(words, ["/proc/self/exe"], "{code}");
        assert_eq!(config.scripts.len(), instance.tracked.scripts.len());
        assert_eq!(
            fallback.missing_items().len(),
            1,
            "{code}: {:?}",
            fallback.missing_items()
        );
    }
}

#[test]
fn accepted_version_with_a_token_in_an_address_is_followed_without_showing_it() {
    let set =
        version("config\n follow git https://ghp_S3CRET@git.example.org/lb.git branch main\n");
    let loaded_with = |fallback: Option<&Arc<Fallback>>| {
        let site = load(
            &set,
            main_files(&set),
            LoadOptions::default(),
            None,
            fallback.cloned(),
        );
        let told = render::concise(&site.proxy.sources, &site.proxy.diagnostics, true);
        (site.proxy.config.is_some(), told)
    };
    let (is_served, told) = loaded_with(None);
    assert!(!is_served && told.contains("error[E0674]"), "{told}");
    let fallback = Arc::new(Fallback::new(Default::default(), std::time::Duration::ZERO));
    let (is_served, told) = loaded_with(Some(&fallback));
    assert!(is_served && told.contains("warning[E0674]"), "{told}");
    assert!(!told.contains("S3CRET"), "{told}");
    let section = cluster::keyword::ConfigSection::read(&set, &grammar(&set));
    let followed = &section.follow[0];
    assert!(followed.url.contains("ghp_S3CRET"));
    assert_eq!(
        followed.name(),
        "git https://***@git.example.org/lb.git, branch main"
    );
    assert!(followed.is_origin("git https://ghp_S3CRET@git.example.org/lb.git, branch main"));
    let said = "could not read Password for 'https://ghp_S3CRET@git.example.org'";
    assert!(!followed.without_credentials(said).contains("S3CRET"));
}

fn given<T: serde::de::DeserializeOwned>(
    part: &str,
    text: &str,
    fallback: Option<&Arc<Fallback>>,
) -> (Option<T>, String) {
    let set = version(text);
    let options = LoadOptions::default();
    let site = load(&set, main_files(&set), options, None, fallback.cloned());
    let told = render::concise(&site.proxy.sources, &site.proxy.diagnostics, true);
    let running = site.running(&Default::default());
    let run = running.into_iter().find(|one| one.part.name == part);
    let payload = run.map(|run| run.given.payload);
    let read = |bytes: Vec<u8>| ::part::codec::decode(&bytes).expect("our own bytes");
    (payload.map(read), told)
}

#[test]
fn accepted_version_gives_no_machine_the_address_of_a_node() {
    let text = "node alpha\n address 192.0.2.2\nboot lan\n interface lo\n network 192.0.2.0/24\n \
                image rescue disk\n machine m mac 52:54:00:00:00:07 address 192.0.2.2 image rescue\n";
    let fallback = Arc::new(Fallback::new(Default::default(), std::time::Duration::ZERO));
    let (refused, told) = given::<boot::config::BootConfig>("boot", text, None);
    assert!(refused.is_none() && told.contains("error[E1070]"), "{told}");
    let (served, told) = given::<boot::config::BootConfig>("boot", text, Some(&fallback));
    let served = served.unwrap_or_else(|| panic!("{told}"));
    assert!(told.contains("warning[E1070]"), "{told}");
    let machine = served.lans["lan"]
        .machines
        .values()
        .next()
        .expect("a machine");
    assert_eq!(machine.address, None);
}

#[test]
fn accepted_version_serves_only_the_first_volume_of_an_image() {
    let text = "volume a\n backing iscsi 10.0.0.8 iqn.2026-01.org.example:a 1\n\
                volume b\n backing iscsi 10.0.0.9 iqn.2026-01.org.example:a 1\n\
                volume c\n backing iscsi 10.0.0.8 iqn.2026-01.org.example:a 2\n\
                guest g\n memory 32m\n disk b\n";
    let (refused, told) = given::<volume::config::Volumes>("volume", text, None);
    assert!(refused.is_none() && told.contains("error[E0809]"), "{told}");
    let fallback = Arc::new(Fallback::new(Default::default(), std::time::Duration::ZERO));
    let (served, told) = given::<volume::config::Volumes>("volume", text, Some(&fallback));
    let served = served.unwrap_or_else(|| panic!("{told}"));
    assert!(told.contains("warning[E0809]"), "{told}");
    assert_eq!(served.1.keys().collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn accepted_version_serves_only_the_first_disk_of_a_storage() {
    let text = "boot lan\n interface lo\n network 192.0.2.0/24\n disk one file /srv/disk iscsi\n \
                disk two file /srv/disk nbd aoe 0.1\n disk three file /srv/other ro nbd\n \
                disk four file /srv/other ro aoe 0.2\n image a iscsi one\n image b aoe two\n \
                machine m mac 52:54:00:00:00:07 address 192.0.2.7 image a\n \
                machine n mac 52:54:00:00:00:08 address 192.0.2.8 image b\n";
    let (refused, told) = given::<boot::config::BootConfig>("boot", text, None);
    assert!(refused.is_none() && told.contains("error[E1085]"), "{told}");
    let fallback = Arc::new(Fallback::new(Default::default(), std::time::Duration::ZERO));
    let (served, told) = given::<boot::config::BootConfig>("boot", text, Some(&fallback));
    let served = served.unwrap_or_else(|| panic!("{told}"));
    assert!(told.contains("warning[E1085]"), "{told}");
    let lan = &served.lans["lan"];
    let disks: Vec<&String> = lan.disks.keys().collect();
    assert_eq!(disks, ["four", "one", "three"]);
    assert_eq!(lan.machines.len(), 2);
}
