//! Masks the secrets in a configuration text and keeps every other byte. Secrets in comments are
//! masked in the same way.

use super::Vocabulary;
use super::secret::{COVER, SCHEMES, Visibility, visible_parts};
use crate::Environment;
use crate::reader::{LINE_BYTES_MAX, expanded_words, words_with_ranges};

/// Minimum length, in bytes, of a word within a secret that is searched for by itself.
const PART_BYTES_MIN: usize = 8;
/// Maximum depth of comments within comments that are searched.
const DEPTH_MAX: usize = 8;

/// Returns a text with its secrets masked; the number of lines stays the same.
pub fn mask_secrets(text: &[u8], vocabulary: &Vocabulary<'_>) -> Vec<u8> {
    let vocabulary = &*vocabulary.for_text(text);
    let mut out = Vec::with_capacity(text.len());
    for (at, line) in text.split(|b| *b == b'\n').enumerate() {
        if at > 0 {
            out.push(b'\n');
        }
        // Masks a line as a whole if it is too long for the reader, because it cannot be searched.
        if line.len() > LINE_BYTES_MAX {
            out.extend_from_slice(COVER.as_bytes())
        } else {
            mask_line(line, vocabulary, DEPTH_MAX, &mut out)
        }
    }
    out
}

/// Returns the words that `mask_secrets` masks, each as written and without quotes; for a URL,
/// also the password alone.
pub fn secrets(text: &[u8], vocabulary: &Vocabulary<'_>) -> Vec<String> {
    let vocabulary = &*vocabulary.for_text(text);
    let mut all = Vec::new();
    let lines = text.split(|b| *b == b'\n');
    for line in lines.filter(|line| line.len() <= LINE_BYTES_MAX) {
        let placed = words_with_ranges(line);
        let words: Vec<Vec<u8>> = placed.iter().map(|(_, word)| word.clone()).collect();
        let found = placed.iter().zip(visible_parts(&words, vocabulary));
        for ((range, word), seen) in found.filter(|(_, seen)| !matches!(seen, Visibility::Whole)) {
            let written = line.get(range.clone()).unwrap_or_default();
            all.push(String::from_utf8_lossy(written).into_owned());
            add_secrets(word, &seen, &mut all);
        }
    }
    all
}

/// Adds a masked word, and its parts that a message may quote separately.
fn add_secrets(word: &[u8], seen: &Visibility, all: &mut Vec<String>) {
    let word = String::from_utf8_lossy(word).into_owned();
    // Takes the user from `scheme://user:password@host` or `user:password`.
    let user = word
        .split_once("://")
        .map_or(word.as_str(), |(_, rest)| rest);
    let user = user.rsplit_once('@').map_or(user, |(user, _)| user);
    match user.split_once(':') {
        Some((name, "" | "x-oauth-basic")) => all.push(name.to_owned()),
        Some((_, password)) => all.push(password.to_owned()),
        None if user.len() < word.len() => all.push(user.to_owned()),
        None => {}
    }
    let shown = match seen {
        Visibility::Part(part) => part.as_str(),
        _ => "",
    };
    // Adds the masked part alone, because a message may quote it: the value of a header without its
    // name, and credentials without their scheme.
    let hidden = &word.as_bytes()[masked_range(word.as_bytes(), shown.as_bytes())];
    let hidden = String::from_utf8_lossy(hidden).trim().to_owned();
    // Does not add the path of an interpreter's script: the path is not secret, and messages have
    // to name it.
    let is_path = |text: &str| text.starts_with('/') && !text.contains(char::is_whitespace);
    if is_path(shown.split_whitespace().next().unwrap_or_default()) && is_path(&hidden) {
        return;
    }
    let value = hidden.trim_matches(['^', '$']);
    all.push(value.to_owned());
    let scheme = |scheme: &&str| {
        value
            .to_ascii_lowercase()
            .find(&format!("{scheme} "))
            .map(|at| at + scheme.len())
    };
    if let Some(end) = SCHEMES.iter().find_map(scheme) {
        all.push(value[end..].trim().to_owned());
    }
    all.retain(|secret| !secret.is_empty());
    // Adds the words within a quoted word, because a message may quote them separately. Short words
    // occur in any text.
    let parts = word.split([' ', '\t']).skip(1);
    // Leaves out the path of a script that an external command runs, which is not secret.
    let is_path = |part: &str| word.starts_with('/') && part.starts_with('/');
    let parts = parts.filter(|part| part.len() >= PART_BYTES_MIN && !is_path(part));
    let parts = parts.filter(|part| !shown.contains(part));
    all.extend(parts.map(str::to_owned));
    all.push(word);
}

/// Returns the words of a line that `mask_secrets` masks, with the values of variables. A value
/// may be a secret although the name of its variable does not suggest it.
pub(crate) fn expanded_secrets(
    line: &[u8],
    vocabulary: &Vocabulary<'_>,
    environment: &Environment,
) -> Vec<String> {
    let placed = words_with_ranges(line).into_iter();
    let words: Vec<Vec<u8>> = placed.map(|(_, word)| word).collect();
    let values = expanded_words(line, environment);
    let (by_name, by_value) = (
        visible_parts(&words, vocabulary),
        visible_parts(&values, vocabulary),
    );
    let mut all = Vec::new();
    for (at, value) in values.iter().enumerate() {
        if words.get(at) == Some(value) {
            continue;
        }
        let mut seen = [by_value.get(at), by_name.get(at)].into_iter().flatten();
        if let Some(seen) = seen.find(|seen| **seen != Visibility::Whole) {
            add_secrets(value, seen, &mut all);
        }
    }
    all
}

/// Returns a line in which each byte of a secret is a `*`, so that positions in the line stay the
/// same.
pub(crate) fn starred(line: &[u8], vocabulary: &Vocabulary<'_>) -> Vec<u8> {
    let mut out = line.to_vec();
    if line.len() > LINE_BYTES_MAX {
        out.fill(b'*');
        return out;
    }
    let placed = words_with_ranges(line);
    let words: Vec<Vec<u8>> = placed.iter().map(|(_, word)| word.clone()).collect();
    let mut has_secret = false;
    for ((range, _), seen) in placed.iter().zip(visible_parts(&words, vocabulary)) {
        let range = range.start.min(line.len())..range.end.min(line.len());
        match seen {
            Visibility::Whole => {}
            Visibility::Covered => {
                has_secret = true;
                out[range].fill(b'*');
            }
            Visibility::Part(part) => {
                let masked = masked_range(&line[range.clone()], part.as_bytes());
                out[range.start + masked.start..range.start + masked.end].fill(b'*');
            }
        }
    }
    let end = placed
        .last()
        .map_or(0, |(range, _)| range.end.min(line.len()));
    let rest = &line[end..];
    if let Some(at) = rest.iter().position(|b| !b" \t\r#!".contains(b)) {
        let is_comment = rest[..at].iter().any(|b| b"#!".contains(b));
        match is_comment && !has_secret {
            true => {
                let comment = starred(&rest[at..], vocabulary);
                out[end + at..].copy_from_slice(&comment);
            }
            // After an error, the rest is treated as if it consisted of words.
            false if !is_comment => {
                let mut words = words;
                let begun = words.len();
                words.extend(rest.split(u8::is_ascii_whitespace).map(<[u8]>::to_vec));
                let mut behind = visible_parts(&words, vocabulary).into_iter().skip(begun);
                let secret = behind.position(|seen| seen != Visibility::Whole);
                if let Some(secret) = secret {
                    let words = rest.split(u8::is_ascii_whitespace).take(secret);
                    let before: usize = words.map(|word| word.len() + 1).sum();
                    out[end + before..].fill(b'*');
                }
            }
            false => out[end + at..].fill(b'*'),
        }
    }
    out
}

/// Returns the range of a word that a mask replaces: the common parts at both ends are visible.
fn masked_range(word: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let same = |(a, b): &(&u8, &u8)| a == b;
    let front = word.iter().zip(part).take_while(same).count();
    let back = word.iter().rev().zip(part.iter().rev());
    let back = back.take_while(same).count().min(word.len() - front);
    front..word.len() - back
}

fn mask_line(line: &[u8], vocabulary: &Vocabulary<'_>, depth: usize, out: &mut Vec<u8>) {
    let placed = words_with_ranges(line);
    let words: Vec<Vec<u8>> = placed.iter().map(|(_, word)| word.clone()).collect();
    let mut written = 0;
    let mut has_secret = false;
    for ((range, _), seen) in placed.iter().zip(visible_parts(&words, vocabulary)) {
        has_secret |= seen == Visibility::Covered;
        let text = match seen {
            Visibility::Whole => continue,
            Visibility::Part(part) => part,
            Visibility::Covered => COVER.to_owned(),
        };
        let end = range.end.min(line.len());
        if range.start < written || end < range.start {
            continue;
        }
        out.extend_from_slice(&line[written..range.start]);
        out.extend_from_slice(text.as_bytes());
        written = end;
    }
    let end = placed
        .last()
        .map_or(0, |(range, _)| range.end.min(line.len()));
    let end = end.max(written);
    out.extend_from_slice(&line[written..end]);
    let rest = &line[end..];
    let comment = rest.iter().position(|b| !b" \t\r#!".contains(b));
    match comment.filter(|_| depth > 0) {
        Some(at) if rest[..at].iter().any(|b| b"#!".contains(b)) => {
            out.extend_from_slice(&rest[..at]);
            // Masks a comment after a secret, which is usually about it, and may contain another
            // secret such as the previous one.
            if has_secret && rest[..at].contains(&b'#') {
                out.extend_from_slice(COVER.as_bytes());
                out.extend_from_slice(&rest[rest.trim_ascii_end().len()..]);
            } else {
                mask_line(&rest[at..], vocabulary, depth - 1, out)
            }
        }
        // Masks the text after an error, which was not parsed into words.
        Some(_) => out.extend_from_slice(COVER.as_bytes()),
        None => out.extend_from_slice(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let vocabulary = Vocabulary {
            secrets: vec!["password", "insecure-password", "auth"],
            ..Vocabulary::default()
        };
        String::from_utf8_lossy(&mask_secrets(text.as_bytes(), &vocabulary)).into_owned()
    }

    #[test]
    fn every_byte_but_secrets_stays() {
        let text = "userlist a\n\tuser  anna  password '$5$a b' groups x  # of anna\n    stats auth \"root:x y\"\n\n";
        assert_eq!(
            shown(text),
            "userlist a\n\tuser  anna  password *** groups x  # ***\n    stats auth ***\n\n"
        );
        let plain = "frontend a  # it's \"plain\"\r\n    bind :80   \n    log-format \"%ci $A\"\n";
        assert_eq!(shown(plain), plain);
    }

    #[test]
    fn what_is_commented_out_is_covered_as_well() {
        assert_eq!(
            shown("  #  user a insecure-password b\n## # stats auth c:d # password e"),
            "  #  user a insecure-password ***\n## # stats auth *** # ***"
        );
    }

    #[test]
    fn passwords_of_addresses_are_covered_within_their_word() {
        assert_eq!(
            shown("    follow git https://a:b@host/x every 5s"),
            "    follow git https://a:***@host/x every 5s"
        );
    }

    const COVERED: &[(&str, &str)] = &[
        (
            "http-request set-var(txn.s) path,hmac(sha256,S3CRET),hex",
            "http-request set-var(txn.s) path,hmac(sha256,***),hex",
        ),
        (
            "http-request deny unless { var(txn.t),jwt_verify(txn.alg,\"/etc/S3CRET.pem\") 1 }",
            "http-request deny unless { var(txn.t),jwt_verify(txn.alg,***) 1 }",
        ),
        (
            "log-format %[path,aes_gcm_dec(128,N,S3CRET,txn.tag)]",
            "log-format %[path,aes_gcm_dec(128,***)]",
        ),
        (
            "http-request set-var(proc.sign_key) str(S3CRET)",
            "http-request set-var(proc.sign_key) ***",
        ),
        (
            "http-request set-header Cookie id=S3CRET if x",
            "http-request set-header Cookie *** if x",
        ),
        (
            "http-check send hdr cookie S3CRET",
            "http-check send hdr cookie ***",
        ),
        (
            "tcp-check send \"AUTH S3CRET\\r\\n\"",
            "tcp-check send AUTH ***",
        ),
        (
            "tcp-check send AUTH\\ S3CRET\\r\\n",
            "tcp-check send AUTH ***",
        ),
        (
            "http-request set-var(txn.s) str(S3CRET)",
            "http-request set-var(txn.s) str(***)",
        ),
        (
            "set-var proc.x str(S3CRET),lower",
            "set-var proc.x str(***),lower",
        ),
        (
            "http-request replace-header Cookie a.* \"sess=S3CRET; \\1\" if x",
            "http-request replace-header Cookie *** *** if x",
        ),
        (
            "http-request deny if { req.cook(sess) S3CRET S3CRET2 } or x",
            "http-request deny if { req.cook(sess) *** *** } or x",
        ),
        (
            "acl a req.hdr(cookie) -m sub S3CRET S3CRET2",
            "acl a req.hdr(cookie) -m sub *** ***",
        ),
        ("acl a http_auth_pass S3CRET", "acl a http_auth_pass ***"),
        ("acl a url_param(sig) S3CRET", "acl a url_param(sig) ***"),
        (
            "acl a req.hdr(x-hub-signature) S3CRET",
            "acl a req.hdr(x-hub-signature) ***",
        ),
        (
            "http-request deny if { var(txn.key) -m str S3CRET }",
            "http-request deny if { var(txn.key) -m str *** }",
        ),
        (
            "redirect location / set-cookie SESS=S3CRET",
            "redirect location / set-cookie ***",
        ),
        (
            "http-request set-header X-Jwt S3CRET if x",
            "http-request set-header X-Jwt *** if x",
        ),
        (
            "tcp-check send \"USER a PASSWORD S3CRET\"",
            "tcp-check send USER ***",
        ),
        (
            "tcp-check send \"*2\\r\\n$4\\r\\nAUTH\\r\\n$6\\r\\nS3CRET\"",
            "tcp-check send ***",
        ),
        (
            "tcp-check send-binary 415554480a53330a",
            "tcp-check send-binary ***",
        ),
        ("tcp-check send PING\\r\\n", "tcp-check send PING\\r\\n"),
        (
            "http-check send meth POST uri / body S3CRET",
            "http-check send meth POST uri / body ***",
        ),
        (
            "http-request auth if { path /secret } x",
            "http-request auth if { path /secret } x",
        ),
        (
            "reqirep ^Authorization:.* Authorization:\\ Basic\\ S3CRET",
            "reqirep ^Authorization: *** ***",
        ),
        (
            "reqideny ^X-Key:\\ S3CRET if x",
            "reqideny ^X-Key: *** if x",
        ),
        ("reqidel ^X-Api-Key:\\ S3CRET", "reqidel ^X-Api-Key: ***"),
        ("reqipass ^Cookie:\\ S3CRET", "reqipass ^Cookie: ***"),
        ("reqitarpit ^X-Auth:S3CRET", "reqitarpit ^X-Auth: ***"),
        (
            "reqsetbe ^Authorization:\\ S3CRET be1",
            "reqsetbe ^Authorization: *** ***",
        ),
        (
            "rspirep ^(Set-Cookie:.*) \\1;\\ key=S3CRET if x",
            "rspirep ^(Set-Cookie: *** *** if x",
        ),
        (
            "rspideny ^Set-Cookie:\\ S3CRET",
            "rspideny ^Set-Cookie: ***",
        ),
        ("reqidel ^X-Forwarded-For:", "reqidel ^X-Forwarded-For:"),
        ("reqideny ^Host:\\ a", "reqideny ^Host:\\ a"),
        (
            "follow git https://h/S3CRET@x/r.git branch main",
            "follow git https://***@x/r.git branch main",
        ),
        (
            "follow git https://h/TOKEN@x/r.git branch main",
            "follow git https://***@x/r.git branch main",
        ),
        (
            "follow git https://u:a/S3CRET@h/token.git branch main",
            "follow git https://u:***@h/token.git branch main",
        ),
        (
            "http-request set-header Authorization \u{201c}Bearer S3CRET\u{201d} if x",
            "http-request set-header Authorization *** *** if x",
        ),
        ("stats auth\u{a0}b:S3CRET", "stats auth\u{a0}***"),
        ("stats au\u{200b}th b:S3CRET", "stats au\u{200b}th ***"),
        (
            "user a insecure\u{2013}password S3CRET",
            "user a insecure\u{2013}password ***",
        ),
        (
            "http-request deny if { hdr_beg(x-key) S3CRET }",
            "http-request deny if { hdr_beg(x-key) *** }",
        ),
        (
            "http-request deny if { cook_sub(sid) S3CRET }",
            "http-request deny if { cook_sub(sid) *** }",
        ),
        (
            "acl a req.body_param(pwd) S3CRET",
            "acl a req.body_param(pwd) ***",
        ),
        ("acl a hdr(:authority) www", "acl a hdr(:authority) www"),
        (
            "acl a hdr(sec-fetch-site) same-origin",
            "acl a hdr(sec-fetch-site) same-origin",
        ),
        (
            "http-request set-var(req.host) hdr(host)",
            "http-request set-var(req.host) hdr(host)",
        ),
        (
            "    cookie SRV insert indirect",
            "    cookie SRV insert indirect",
        ),
        (
            "    description \"auth service\"",
            "    description \"auth service\"",
        ),
    ];

    #[test]
    fn keys_of_converters_cookies_and_passwords_of_checks_are_covered() {
        for (text, expected) in COVERED {
            assert_eq!(shown(text), *expected);
        }
    }

    #[test]
    fn a_line_that_is_too_long_or_ends_in_a_nul_shows_nothing_of_its_secret() {
        let long = format!("password {}", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(shown(&long), "***");
        assert!(!shown("a\0 password secretive").contains("secretive"));
    }

    #[test]
    fn an_open_quote_hides_what_stands_behind_it() {
        let text = shown("user a password 'secretive and on");
        assert!(!text.contains("secretive"), "{text}");
        let text = shown("password \\");
        assert!(text.starts_with("password"), "{text}");
    }

    #[test]
    fn starred_lines_keep_their_places() {
        let starred = |text: &str| {
            let vocabulary = Vocabulary {
                secrets: vec!["password", "auth"],
                sections: vec!["backend"],
                ..Vocabulary::default()
            };
            let stars = super::starred(text.as_bytes(), &vocabulary);
            assert_eq!(stars.len(), text.len());
            String::from_utf8_lossy(&stars).into_owned()
        };
        for (text, expected) in [
            (
                "  user a password S3CRET  # was S3CRET",
                "  user a password ******  # **********",
            ),
            (
                "  user a password 'S3CRET and",
                "  user a password ***********",
            ),
            (
                "  acl a path -m beg /a  # S3CRET",
                "  acl a path -m beg /a  # S3CRET",
            ),
            ("x https://u:S3CRET@host/", "x https://u:******@host/"),
            ("x https://S3CRET@host/", "x https://******@host/"),
            ("log-format \"%ci", "log-format \"%ci"),
        ] {
            assert_eq!(starred(text), expected);
        }
    }

    #[test]
    fn names_and_paths_cover_nothing() {
        for text in [
            "acl is_secret path_beg /secret",
            "    server token-service 192.0.2.1:80 check",
            "use_backend password-reset if { path /x }",
            "bind :443 ssl crt /etc/secrets/a.pem alpn h2",
        ] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(
            shown("    user password password S3CRET"),
            "    user password password ***"
        );
    }

    #[test]
    fn arguments_of_programs_kernels_and_the_environment_are_covered() {
        for (text, expected) in [
            (
                "    notify \"/usr/bin/mail -u root:S3CRET\"",
                "    notify /usr/bin/mail ***",
            ),
            (
                "    track script \"/usr/bin/mysqladmin -pS3CRET ping\"",
                "    track script /usr/bin/mysqladmin ***",
            ),
            (
                "    power exec /usr/bin/pdu -p S3CRET",
                "    power exec /usr/bin/pdu -p ***",
            ),
            (
                "    image debian kernel /v append root=S3CRET quiet",
                "    image debian kernel /v append *** ***",
            ),
            ("    setenv PGDATA S3CRET", "    setenv PGDATA ***"),
            (
                "    on alpha setenv PG S3CRET",
                "    on alpha setenv PG ***",
            ),
            (
                "    on alpha,beta notify \"/bin/a S3CRET\"",
                "    on alpha,beta notify /bin/a ***",
            ),
            (
                "    notify master \"/bin/a S3CRET\"",
                "    notify master /bin/a ***",
            ),
            (
                "    reqadd Authorization:\\ Custom\\ S3CRET",
                "    reqadd Authorization: ***",
            ),
            (
                "    reqirep ^X-Api-Key:.* X-Api-Key:\\ S3CRET",
                "    reqirep ^X-Api-Key: *** ***",
            ),
            ("    reqadd X-Via:\\ lb", "    reqadd X-Via:\\ lb"),
            ("$AUTH_PASS=S3CRET", "$AUTH_PASS=***"),
            ("$PRIORITY=150", "$PRIORITY=150"),
            ("    set-param X_KEY S3CRET", "    set-param X_KEY ***"),
            (
                "    http-check send meth GET uri /h?a=b&api_sig=S3CRET&c=d",
                "    http-check send meth GET uri /h?a=b&api_sig=***",
            ),
            (
                "    command /bin/app --key S3CRET",
                "    command /bin/app *** ***",
            ),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn any_bytes_are_taken() {
        let mut random = lab::Random::new(1);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..24)
                .map(|_| *random.pick_ref(b"aH# '\"\\$\n\r\0:/@ \xff=!pw"))
                .collect();
            let lines = |text: &[u8]| text.iter().filter(|b| **b == b'\n').count();
            for line in bytes.split(|b| *b == b'\n') {
                assert_eq!(
                    super::starred(line, &Vocabulary::default()).len(),
                    line.len()
                );
            }
            let covered = mask_secrets(&bytes, &Vocabulary::default());
            assert_eq!(lines(&covered), lines(&bytes));
        }
    }

    #[test]
    fn the_name_of_a_token_is_none_and_its_hash_stays() {
        let text = "    token ci user anna scope read hash 5f0c\n";
        assert_eq!(shown(text), text);
        assert!(!shown("    x api-token SECRET\n").contains("SECRET"));
    }

    #[test]
    fn the_lifetime_of_tokens_is_no_secret() {
        let text = "    token-lifetime 1d\n";
        assert_eq!(shown(text), text);
        assert!(!shown("    x token-lifetime SECRET\n").contains("SECRET"));
    }
}
