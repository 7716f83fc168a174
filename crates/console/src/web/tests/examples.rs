//! Tests the curl examples of the documentation by running them.

use super::*;

const DOCUMENTATION: &str = include_str!("../../../../../docs/console.md");
/// URL of the console in the documentation.
const AT: &str = "https://alpha:8600";
/// Name of the shell variable in the documentation, and its value.
const TOKEN: (&str, &str) = ("$TOKEN", "right");

/// Splits a line into words, as a shell does.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (None, '#') if word.is_empty() => break,
            (None, ' ') if word.is_empty() => {}
            (None, ' ') => all.push(std::mem::take(&mut word)),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (_, c) => word.push(c),
        }
    }
    assert_eq!(quote, None, "{line}");
    all.extend(Some(word).filter(|word| !word.is_empty()));
    all
}

/// Returns the lines of the documentation that call curl.
fn lines() -> Vec<String> {
    let text = DOCUMENTATION.replace("\\\n", " ");
    let blocks = text.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| line.starts_with("curl ")).collect()
}

/// Creates the request that a line sends.
fn request(line: &str) -> Request<Body> {
    let mut words = words(line).into_iter().skip(1);
    let (mut request, mut form, mut path) = (Request::builder(), Vec::new(), None);
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("a value");
        match word.as_str() {
            // curl prompts for the password.
            "-u" => request = request.header(AUTHORIZATION, basic(&value(), PASSWORD)),
            "-d" => form.push(value()),
            // The value of this field is in a file.
            "--data-urlencode" => form.push(value().replace('@', "=")),
            "-H" => {
                let field = value().replace(TOKEN.0, TOKEN.1);
                let (name, value) = field.split_once(": ").expect("a header");
                request = request.header(name, value);
            }
            url if url.starts_with(AT) => path = Some(url[AT.len()..].to_owned()),
            _ => panic!("{word}: {line}"),
        }
    }
    let method = if form.is_empty() { "GET" } else { "POST" };
    let request = request.method(method).uri(path.expect("a URL"));
    request.body(Body::from(form.join("&"))).unwrap()
}

#[test]
fn every_curl_example_works() {
    let lines = lines();
    assert!(lines.len() >= 5, "{lines:?}");
    for scheme in ["-u ", "Bearer ", "-d "] {
        assert!(lines.iter().any(|line| line.contains(scheme)), "{scheme}");
    }
    for line in lines {
        let mut bed = ConsoleFixture::new(vec![issued(TOKEN.1, "anna", Scope::Configure)]);
        let reply = bed.request(HOME, request(&line));
        assert_eq!(reply.status, 200, "{line}: {reply:?}");
        assert_eq!(
            bed.ordered.len(),
            usize::from(line.contains("-d ")),
            "{line}"
        );
    }
}
