//! Tests sections that other parts of the configuration build.

use super::{codes, load_both, text, told};
use configuration::LoadOptions;

const FILE: &str = "\
global
    node of-haproxy
    log-send-hostname here

listen www
    bind 127.0.0.1:1
    server a 127.0.0.1:2

node alpha
    address \"10.0.0.1\" # here
virtual-ip www
    address ${NOT_SET-172.16.61.150}/24
.if defined(NOT_SET)
    failover 50ms
.endif
    of nobody here
    prefer alpha
";

fn lines(file: &str) -> Vec<Vec<String>> {
    load_both(file, LoadOptions::default()).1
}

#[test]
fn lines_of_others_are_collected_unread_with_quotes_variables_and_conditions_resolved() {
    let loaded = text(FILE);
    assert_eq!(
        codes(&loaded),
        ["W0102"],
        "only the time limits are missing"
    );
    assert_eq!(
        lines(FILE),
        [
            vec!["node alpha", "address 10.0.0.1"],
            vec![
                "virtual-ip www",
                "address ${NOT_SET-172.16.61.150}/24",
                "of nobody here",
                "prefer alpha"
            ],
        ]
    );
    let config = loaded.config.expect("no error");
    assert_eq!(config.global.node.as_deref(), Some("of-haproxy"));
}

#[test]
fn variables_between_double_quotes_are_replaced_there_too() {
    let file = "virtual-ip www\n    address \"${NOT_SET-172.16.61.150}/24\"\n";
    assert_eq!(
        lines(file),
        [["virtual-ip www", "address 172.16.61.150/24"]]
    );
}

#[test]
fn node_is_a_line_of_global_where_the_layout_says_so() {
    let unindented =
        "global\nnode lb1\nmaxconn 10\nlisten a\nbind 127.0.0.1:1\nserver s 127.0.0.1:2\n";
    let loaded = text(unindented);
    assert_eq!(
        codes(&loaded),
        ["W0102"],
        "only the time limits are missing"
    );
    assert!(lines(unindented).is_empty());
    let config = loaded.config.expect("no error");
    assert_eq!(config.global.maxconn, Some(10));
    assert_eq!(lines("global\n    maxconn 10\nnode lb1\n").len(), 1);
}

#[test]
fn a_misspelt_section_of_others_is_told_with_its_neighbour() {
    for file in [
        "virtual-pi www\n    address x\n",
        "global\n    maxconn 1\nvirtual-ipp www\n    address x\n",
    ] {
        let loaded = text(file);
        assert_eq!(loaded.diagnostics.errors(), 1, "{}", told(&loaded));
        assert!(
            told(&loaded).contains("did you mean 'virtual-ip'?"),
            "{}",
            told(&loaded)
        );
    }
    assert!(codes(&text("virtual-ip www\n    address x\n")).is_empty());
}
