//! Tests programs that only some hosts of a farm have, with real clients and hosts: a user signs in
//! at the portal with curl, and opens its `.rdp` files with xfreerdp.

use crate::farm::desktops::{Site, address, certificate, is_ready, xrdp};
use lab::{LabProcess, ScratchDirectory, may_run, privileged};
use std::process::Command;

/// URL at which curl finds the portal.
const PORTAL: &str = "https://desktop.example.org";

/// Returns the lines of a portal; the program Word is on ts2 only.
fn portal(scratch: &ScratchDirectory) -> String {
    format!(
        "    web {}:443 crt {}\n    portal {PORTAL}/\n    users staff\n    desktop \"Full desktop\"\n    \
         app word \"Word\" path \"||WINWORD\" hosts ts2\n\nuserlist staff\n    user anna insecure-password secret\n    \
         user bert insecure-password secret\n",
        address(1),
        certificate(scratch, "web").display()
    )
}

/// Returns the response of the portal to curl, with the cookies of a user.
fn curl(site: &Site, user: &str, path: &str, options: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--insecure", "--max-time", "60"]);
    let found = format!("desktop.example.org:443:{}", address(1));
    command.args(["--resolve", &found]);
    let cookies = site.path(&format!("{user}.cookies"));
    command.arg("--cookie").arg(&cookies);
    command.arg("--cookie-jar").arg(&cookies);
    command.args(options).arg(format!("{PORTAL}{path}"));
    let printed = site.at_client(command);
    printed.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Signs a user in; returns the page with the list of programs.
fn signs_in(site: &Site, user: &str) -> String {
    let data = format!("user={user}&password=secret");
    let origin = format!("Origin: {PORTAL}");
    curl(
        site,
        user,
        "/sign-in",
        &["--header", &origin, "--data", &data],
    );
    curl(site, user, "/", &[])
}

/// Downloads a file of anna, and opens it.
fn opens(site: &Site, name: &str) -> LabProcess {
    let file = curl(site, "anna", &format!("/start/{name}.rdp"), &[]);
    assert!(file.contains("\nloadbalanceinfo:s:Cookie: msts="), "{file}");
    let path = site.write(&format!("{name}.rdp"), &file);
    site.client_of_file(&path)
}

#[test]
fn files_of_the_portal_lead_to_the_hosts_of_their_programs() {
    let test = "a file of the portal";
    let needs = privileged().and_then(|()| lab::installed("curl"));
    if !may_run(test, needs) || !is_ready(test) {
        return;
    }
    let site = Site::with(xrdp, portal);
    let list = signs_in(&site, "anna");
    assert!(list.contains("/start/word.rdp"), "{list}");
    // With equal loads ts1 would be chosen, the first by name; but Word is on ts2.
    let word = opens(&site, "word");
    site.has([[0, 0], [1, 0]]);
    let log = site.read("xfreerdp");
    assert!(!log.contains("LB_LOAD_BALANCE_INFO"), "{log}");
    site.shows(&["farm", "sessions"], |text| text.contains(" connected"));
    word.kill_tree();
    site.shows(&["farm", "sessions"], |text| text.contains("disconnected"));
    // The desktop is on all hosts, and anna returns to her session, with a file and without.
    let desktop = opens(&site, "desktop");
    site.has([[0, 0], [1, 1]]);
    desktop.kill_tree();
    site.shows(&["farm", "sessions"], |text| text.contains("disconnected"));
    let redirected = site.client(&[]);
    site.has([[0, 0], [1, 2]]);
    redirected.kill_tree();
    let shown = site.shows(&["farm", "sessions"], |text| text.contains("disconnected"));
    assert!(shown.contains("all hosts and ts2"), "{shown}");
    // The only host with Word accepts no new users, but anna returns to her session.
    site.ours(&["farm", "drain", "ts2"]);
    let list = signs_in(&site, "bert");
    assert!(list.contains("Its hosts accept no new users now"), "{list}");
    let _word = opens(&site, "word");
    site.has([[0, 0], [1, 3]]);
    let listed = site.ours(&["farm", "list"]);
    assert!(listed.contains("collection ts2: full"), "{listed}");
    let why = site.ours(&["farm", "why", "anna"]);
    assert!(why.contains("Word (on ts2) now: ts2: "), "{why}");
}
