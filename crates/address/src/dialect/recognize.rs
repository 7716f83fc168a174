//! Recognizes by its first word whether a file is a `keepalived.conf`.

use super::keyword::{self, TOP};
use language::suggest;

/// Maximum number of bytes that are examined.
const LOOKED_AT_MAX: usize = 64 << 10;

/// Returns whether these are the bytes of a `keepalived.conf`: the first word that is not a
/// comment, condition or definition is a keyword, possibly with a typo. `sections` begin a file in
/// HAProxy's language or ours, and are never taken for typos.
pub fn is_keepalived(bytes: &[u8], sections: &[&str]) -> bool {
    let bytes = bytes.get(..LOOKED_AT_MAX).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let mut definition = false;
    for line in text.lines() {
        let line = line.split(['#', '!']).next().unwrap_or_default().trim();
        let inside = definition;
        definition &= line.ends_with('\\');
        if inside || line.is_empty() {
            continue;
        }
        let condition = line.starts_with('@');
        let line = if condition {
            line.split_once(char::is_whitespace)
                .map_or("", |(_, rest)| rest.trim())
        } else {
            line
        };
        if line.starts_with('$') {
            definition = line.ends_with('\\');
            continue;
        }
        if line.starts_with("~SEQ") || line.starts_with("~LST") {
            return true;
        }
        let word = line.split(|c: char| c.is_whitespace() || c == '{').next();
        let word = word.unwrap_or_default();
        if word.is_empty() {
            continue;
        }
        return is_keyword(word, line, sections);
    }
    false
}

fn is_keyword(word: &str, line: &str, sections: &[&str]) -> bool {
    if sections.contains(&word) {
        return false;
    }
    if keyword::find(TOP, word).is_some() || super::files::variant(word).is_some() {
        return true;
    }
    let names = || keyword::names_in(TOP);
    // `vrrp_instance_VI_1 {`, and other words that begin with the name of a keyword.
    let begins = names().any(|name| name.contains('_') && word.starts_with(name));
    begins || (line.ends_with('{') && suggest::nearest(word, names()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTIONS: &[&str] = &["global", "defaults", "listen", "node", "virtual-ip"];

    #[test]
    fn a_file_is_known_by_its_first_word() {
        for text in [
            "global_defs {\n}\n",
            "! Configuration File for keepalived\n\nglobal_defs {",
            "# x\nvrrp_instance VI_1 {",
            "vrrp_instance_VI_1 {",
            "vrrp_intsance VI_1 {",
            "vrrp_script{",
            "@main global_defs {",
            "$A=1\n$B= \\\n global \\\n x\nvrrp_instance A {",
            "include /etc/keepalived/*.conf",
            "virtual_server 10.0.0.1 80 {",
            "~LST(A, 1, 2) vrrp_instance $A {",
            "net_namespace x\nvrrp_instance A {",
        ] {
            assert!(is_keepalived(text.as_bytes(), SECTIONS), "{text}");
        }
    }

    #[test]
    fn other_files_are_not() {
        for text in [
            "",
            "# nothing\n",
            "global\n    daemon\n",
            "listen x :80\n",
            "defaults\n",
            "node a\n",
            "virtual-ip www\n",
            ".if 1\nglobal\n",
            "globl\n",
            "\0\u{1}\u{2}",
        ] {
            assert!(!is_keepalived(text.as_bytes(), SECTIONS), "{text}");
        }
    }
}
