//! Tests the agent script for Windows, as far as that works without Windows. If PowerShell is
//! installed, its parser checks the script, too.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Common aliases. A machine may lack any of them.
const ALIASES: &[&str] = &[
    "%", "?", "ac", "cat", "cd", "clc", "cls", "copy", "cp", "curl", "cut", "del", "diff", "dir",
    "echo", "epcsv", "fl", "ft", "gc", "gci", "gcm", "gi", "gm", "gp", "gps", "group", "gsv",
    "gwmi", "h", "icm", "iex", "ii", "ipmo", "irm", "iwr", "kill", "ls", "man", "measure", "md",
    "mi", "mv", "ni", "nsn", "ps", "pwd", "rd", "ren", "ri", "rm", "rmdir", "sajb", "sal", "saps",
    "sc", "select", "set", "sl", "sleep", "sort", "sp", "spps", "start", "sv", "tee", "type",
    "wget", "where", "write",
];
/// Approved verbs of PowerShell with which functions may begin.
const VERBS: &[&str] = &["ConvertTo", "Get", "Invoke", "Read", "Show", "Test"];

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/windows/evenkeel-farm-agent.ps1")
}

fn text() -> String {
    std::fs::read_to_string(path()).expect("the script")
}

/// Returns a script without comments and string contents, and its here-strings.
fn code(text: &str) -> (String, Vec<String>) {
    let (mut code, mut here) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let ends = [
            ("<#", "#>", false),
            ("@'\n", "\n'@", true),
            ("#", "\n", false),
            ("'", "'", false),
            ("\"", "\"", false),
        ];
        let quoted = ends.into_iter().find(|(begin, ..)| rest.starts_with(begin));
        let Some((begin, end, is_here)) = quoted else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let inner = &rest[begin.len()..];
        let at = inner
            .find(end)
            .unwrap_or_else(|| panic!("no {end:?} behind {begin:?}"));
        if is_here {
            here.push(inner[..at].to_owned());
        }
        // A string becomes one word, and a comment nothing.
        code.push_str(match begin {
            "#" => "\n",
            "<#" => "",
            _ => "''",
        });
        rest = &inner[at + end.len()..];
    }
    (code, here)
}

fn balanced(code: &str) {
    let mut open = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for letter in line.chars() {
            match letter {
                '(' => open.push(')'),
                '[' => open.push(']'),
                '{' => open.push('}'),
                ')' | ']' | '}' => {
                    assert_eq!(open.pop(), Some(letter), "line {}: {line}", number + 1);
                }
                _ => {}
            }
        }
    }
    assert!(open.is_empty(), "{open:?} missing at the end");
}

#[test]
fn the_script_is_ascii_balanced_and_begins_with_its_parameters() {
    let text = text();
    assert!(text.is_ascii() && !text.contains('\t'));
    let (code, here) = code(&text);
    balanced(&code);
    let mut lines = code.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().expect("a line");
    assert!(first.starts_with("[CmdletBinding("), "{first}");
    assert_eq!(lines.next(), Some("param("));
    for parameter in ["Allow", "Port", "Title", "Once"] {
        let documented = format!(".PARAMETER {parameter}\n");
        assert!(code.contains(&format!("${parameter}")) && text.contains(&documented));
    }
    // The calls of Windows are in C#, with strings and comments of its own.
    let [sharp] = &here[..] else {
        panic!("{} here-strings", here.len());
    };
    let plain = sharp
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    balanced(&plain.collect::<Vec<_>>().join("\n"));
    for function in [
        "WTSEnumerateSessionsExW",
        "WTSFreeMemoryExW",
        "WTSSendMessageW",
    ] {
        assert_eq!(sharp.matches(function).count(), 2, "{function}");
    }
}

#[test]
fn the_script_has_no_alias_and_its_functions_have_approved_verbs() {
    let (code, _) = code(&text());
    // A command is at the beginning of a statement.
    let statements = code.split(['\n', ';', '|', '{', '(', '=']);
    for statement in statements.map(str::trim) {
        let word = statement.split([' ', ')', '}']).next().unwrap_or_default();
        let word = word.to_ascii_lowercase();
        assert!(!ALIASES.contains(&word.as_str()), "{word}: {statement}");
    }
    let functions: Vec<&str> = code
        .lines()
        .filter_map(|line| line.strip_prefix("function ")?.split(' ').next())
        .collect();
    assert!(functions.len() > 5);
    for function in functions {
        let verb = function.split('-').next().unwrap_or_default();
        assert!(VERBS.contains(&verb), "{function}");
        assert!(code.matches(function).count() > 1, "{function} is not used");
    }
}

#[test]
fn the_parser_of_powershell_finds_no_error() {
    let parse = "$found = $null; \
        [void] [System.Management.Automation.Language.Parser]::ParseFile($args[0], [ref] $null, [ref] $found); \
        $found | ForEach-Object { $_.ToString() }; exit $found.Count";
    let mut command = Command::new("pwsh");
    command.args(["-NoProfile", "-NonInteractive", "-Command"]);
    command.arg(format!("& {{ {parse} }} '{}'", path().display()));
    // Without PowerShell only the other tests check the script.
    let Ok(output) = command.output() else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}
