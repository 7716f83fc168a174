//! Tests the replacements that the errors about refused keywords suggest.

use crate::testing::load_text;

#[test]
fn what_is_not_built_comes_with_what_to_do_instead() {
    for (text, want) in [
        ("program p\n command x\n", "service manager"),
        ("ring r\n backing-file /x\n", "opens no file"),
        ("acme a\n", "certbot"),
        (
            "listen l\n bind 127.0.0.1:1 namespace blue\n",
            "NetworkNamespacePath",
        ),
        ("listen l\n guid x\n", "names of proxies"),
        (
            "listen l\n server s 127.0.0.1:1 namespace blue\n",
            "NetworkNamespacePath",
        ),
        (
            "listen l\n server s 127.0.0.1:1 guid x\n",
            "names of proxies",
        ),
        ("listen l\n filter bwlim-in x limit 1k\n", "kernel"),
        (
            "listen l\n mode http\n http-request set-bandwidth-limit x\n",
            "kernel",
        ),
        (
            "listen l\n mode http\n http-request set-header x %[str(a),jwt_decrypt_secret(b)]\n",
            "jwt_verify",
        ),
    ] {
        let loaded = load_text(text);
        let refused = loaded
            .diagnostics
            .iter()
            .find(|told| told.code.id == "E0103")
            .unwrap_or_else(|| panic!("{text}"));
        let said = format!("{refused:?}");
        assert!(said.contains(want), "{text}: {said}");
    }
}
