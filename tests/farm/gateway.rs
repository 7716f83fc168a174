//! Tests the gateway of a farm with the real programs: xfreerdp reaches its session through HTTPS,
//! by a WebSocket and by the pair of two requests.

use crate::farm::desktops::{SOON, Site, address, certificate, is_ready, xrdp};
use lab::{LabProcess, ScratchDirectory, eventually};
use std::process::Command;

/// Key with which the farm makes and reads cookies (`token-key`).
const KEY: [u8; 32] = [7; 32];
const COOKIE: &str = "evenkeel1._____1zD-Cg4unJgYW5uYfjF4YR5wlxq-OJzNTxgEQjZxb_KVbngipOPRXoGT9gY";

/// Returns the configuration lines of a gateway.
fn gateway(scratch: &ScratchDirectory) -> String {
    let key = scratch.write("farm.key", KEY).unwrap();
    format!(
        "    token-key {}\n    web {}:443 crt {}\n    gateway https://desktop.example.org/remoteDesktopGateway/\n    \
         users staff group:desktop\n\nuserlist staff\n    group desktop users anna\n    user anna insecure-password secret\n    \
         user bert insecure-password secret\n",
        key.display(),
        address(1),
        certificate(scratch, "web").display()
    )
}

/// Starts a client of anna that connects through the gateway as this user.
fn client(site: &Site, host: &str, transport: &str, user: &str, password: &str) -> LabProcess {
    let options = [
        format!("/g:{}:443", address(1)),
        format!("/gt:{transport}"),
        format!("/gu:{user}"),
        format!("/gp:{password}"),
    ];
    site.client_to(host, &options.each_ref().map(String::as_str))
}

#[test]
fn xfreerdp_comes_to_its_session_by_websocket_by_two_requests_and_by_a_cookie() {
    if !is_ready("a client of the gateway") {
        return;
    }
    let site = Site::with(xrdp, gateway);
    let first = client(&site, &address(1), "http", "EXAMPLE\\anna", "secret");
    site.has([[1, 0], [0, 0]]);
    assert!(site.read("xfreerdp").contains("Upgraded to websocket"));
    let client_address = address(2);
    let by_gateway = format!("{client_address} by the gateway");
    site.shows(&["farm", "sessions"], |text| text.contains(&by_gateway));
    site.shows(&["farm", "list"], |text| {
        text.contains(&format!("anna from {client_address} to the farm"))
    });
    first.kill_tree();
    site.shows(&["farm", "sessions"], |text| text.contains("disconnected"));
    let second = client(&site, &address(1), "http,no-websockets", "anna", "secret");
    site.has([[1, 1], [0, 0]]);
    assert!(!site.read("xfreerdp").contains("Upgraded to websocket"));
    second.kill_tree();
    site.shows(&["farm", "sessions"], |text| text.contains("disconnected"));
    let options = [format!("/g:{}:443", address(1)), format!("/gat:{COOKIE}")];
    let third = site.client_to(&address(1), &options.each_ref().map(String::as_str));
    site.has([[1, 2], [0, 0]]);
    third.kill_tree();
    // Connects to a host of the farm by its address.
    let _fourth = client(&site, &address(11), "auto", "anna", "secret");
    site.has([[1, 3], [0, 0]]);
    let why = site.ours(&["farm", "why", "anna"]);
    assert!(why.contains("a tunnel to ts1"), "{why}");
    assert_eq!(why.matches("a tunnel to the farm").count(), 6, "{why}");
}

/// The gateway authenticates connections (NTLM). The requests of other clients through the same
/// backend must not use them, nor come between a challenge and its response.
#[test]
fn gateway_is_reached_through_the_proxy_beside_other_traffic() {
    if !is_ready("the gateway behind the proxy") {
        return;
    }
    let site = Site::with(xrdp, |scratch| {
        let own = format!("{}:443", address(1));
        let gateway = gateway(scratch);
        // NTLM is bound to the certificate that the client sees, so it must be the gateway's.
        let crt = scratch.path().join("web.pem");
        format!(
            "{gateway}\ndefaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    \
             timeout server 30s\n    timeout tunnel 1h\n    http-reuse always\nfrontend entrance\n    \
             bind {}:8443 ssl crt {} alpn h2,http/1.1\n    default_backend gateway\n\
             backend gateway\n    server own {own} ssl verify none\n",
            address(1),
            crt.display()
        )
    });
    let url = format!("https://{}:8443/nothing", address(1));
    let mut others = Command::new("sh");
    others.args([
        "-c",
        &format!("while :; do curl -sk -w '%{{http_code}}\\n' -o /dev/null {url}; done"),
    ]);
    let others = site.start_at_client(others, "others");
    assert!(eventually(SOON, || site.read("others").contains("404")));
    let transports = ["http", "http,no-websockets", "http"];
    for (reconnects, transport) in transports.into_iter().enumerate() {
        let options = [
            format!("/g:{}:8443", address(1)),
            format!("/gt:{transport}"),
            "/gu:anna".to_owned(),
            "/gp:secret".to_owned(),
        ];
        let client = site.client_to(&address(1), &options.each_ref().map(String::as_str));
        site.has([[1, reconnects], [0, 0]]);
        client.kill_tree();
        site.shows(&["farm", "sessions"], |text| text.contains("disconnected"));
    }
    drop(others);
    // The last one may be that of a client that was stopped.
    let statuses = site.read("others");
    let (whole, _) = statuses.trim_end().rsplit_once('\n').unwrap();
    assert!(whole.lines().all(|status| status == "404"), "{statuses}");
}

#[test]
fn a_wrong_password_a_user_of_no_group_and_a_host_of_others_are_refused() {
    if !is_ready("refusals of the gateway") {
        return;
    }
    let site = Site::with(xrdp, gateway);
    let is_said = |words: &str| {
        let said = eventually(SOON, || site.read("xfreerdp").contains(words));
        assert!(said, "{words}: {}", site.read("xfreerdp"));
    };
    let _wrong = client(&site, &address(1), "http", "anna", "Secret");
    is_said("RDG_OUT_DATA authorization result");
    site.shows(&["farm", "why", "anna"], |text| {
        text.contains("wrong password")
    });
    let _bert = client(&site, &address(1), "http", "bert", "secret");
    is_said("RDG_OUT_DATA authorization result");
    site.shows(&["farm", "why", "bert"], |text| {
        text.contains("unknown user")
    });
    let _other = client(&site, &address(2), "http", "anna", "secret");
    is_said("E_PROXY_RAP_ACCESSDENIED");
    let words = format!("{} port 3389 is not a host of this farm", address(2));
    site.shows(&["farm", "why", "anna"], |text| text.contains(&words));
    let forged = COOKIE.replace("zD", "zE");
    let options = [format!("/g:{}:443", address(1)), format!("/gat:{forged}")];
    let _forged = site.client_to(&address(1), &options.each_ref().map(String::as_str));
    is_said("E_PROXY_COOKIE_AUTHENTICATION_ACCESS_DENIED");
    assert_eq!(site.sessions(), [[0, 0], [0, 0]]);
}

/// The role has dropped its privileges by then.
#[test]
fn a_reload_opens_a_port_below_1024() {
    if !is_ready("a further port of the gateway") {
        return;
    }
    let site = Site::with(xrdp, gateway);
    let text = site.read("office.cfg");
    let line = text.lines().find(|line| line.contains(":443 crt")).unwrap();
    let further = format!("{line}\n{}", line.replace(":443", ":444"));
    site.write("office.cfg", &text.replace(line, &further));
    let said = site.ours(&["reload"]);
    let at = format!("{}:444", address(1)).parse().unwrap();
    let is_open = || site.node().tcp_connect(at, SOON).is_ok();
    assert!(eventually(SOON, is_open), "{said}");
}
