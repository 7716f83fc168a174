//! Names the alternative to a HAProxy keyword that is not supported, or the reason why there is
//! none. A row matches the whole name, or a prefix if the row ends with `*`.

const INSTEAD: &[(&str, &str)] = &[
    (
        "program",
        "start the program with the service manager, and remove the section; under systemd, \
         `PartOf=evenkeel.service` stops and restarts both together",
    ),
    (
        "traces",
        "remove the section: it is for debugging HAProxy itself",
    ),
    (
        "filter trace",
        "remove the line: it is for debugging HAProxy itself",
    ),
    (
        "namespace*",
        "start one Evenkeel in each network namespace (under systemd `NetworkNamespacePath=`, otherwise `ip netns \
         exec NAME`): entering another namespace needs CAP_SYS_ADMIN, which the proxy does not have",
    ),
    (
        "guid*",
        "remove it: a guid names an object in HAProxy's statistics file; Evenkeel passes counters on by the names of \
         proxies and servers",
    ),
    (
        "backing-file",
        "remove the line, and let the `server` of the ring write lines to disk: the proxy opens no files, and a ring \
         sends each line as soon as that server accepts it",
    ),
    (
        "filter bwlim-*",
        "limit requests (`http-request deny` with `sc_http_req_rate`) and connections (`maxconn` of servers), or \
         limit the bandwidth of each address in the kernel (`tc` on the interface)",
    ),
    (
        "set-bandwidth-limit",
        "remove the rule with its `filter bwlim-*`, and limit requests, connections, or the bandwidth in the kernel \
         (`tc`)",
    ),
    (
        "jwt_decrypt_*",
        "decrypt the token in the application, so that the key stays there; `jwt_verify` verifies tokens that are \
         only signed",
    ),
    (
        "acme",
        "renew certificates with an ACME client (certbot, lego), and load them with `watch` or `evenkeel reload`: the \
         proxy has no account key and opens no files",
    ),
];

pub fn instead(name: &str) -> Option<&'static str> {
    let is = |known: &str| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == known,
    };
    let found = INSTEAD.iter().find(|(known, _)| is(known));
    found.map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_of_names_that_are_known_and_are_sentences_without_their_end() {
        for (known, words) in INSTEAD {
            assert!(words.len() > 40 && !words.ends_with('.'), "{known}");
        }
        assert_eq!(instead("namespace_list"), instead("namespace"));
        assert_eq!(instead("maxconn"), None);
    }
}
