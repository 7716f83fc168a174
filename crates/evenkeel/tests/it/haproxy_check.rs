//! Tests of `-c`, `-cc`, `-v` and refused command lines under the name `haproxy`, compared with the
//! real HAProxy.

use crate::harness::Bench;

const TIMEOUTS: &str = "    timeout server 1s\n    timeout connect 1s\n";

/// Writes the files of the comparison.
fn files(bench: &Bench) {
    bench.listening(18990, "");
    bench.file("bad.cfg", "frontend f\n    bnid 127.0.0.1:18990\n    foo\n");
    bench.file(
        "silent.cfg",
        &format!("backend b\n{TIMEOUTS}    server s 127.0.0.1:9\n"),
    );
    bench.file("warned.cfg", "frontend f\n    bind 127.0.0.1:18990\n    default_backend b\nbackend b\n    server s 127.0.0.1:9\n");
    bench.file("quiet.cfg", "global\n    quiet\nfrontend f\n    bnid x\n");
    bench.file(
        "zero.cfg",
        "global\n    zero-warning\nfrontend f\n    bind 127.0.0.1:18990\n",
    );
}

#[test]
fn check_has_the_exit_code_and_output_of_haproxy() {
    let bench = Bench::new();
    files(&bench);
    for (arguments, code, stdout) in [
        ("-c -f listening.cfg", 0, "Configuration file is valid\n"),
        ("-c -V -f listening.cfg", 0, "Configuration file is valid\n"),
        (
            "-c -q -V -f listening.cfg",
            0,
            "Configuration file is valid\n",
        ),
        ("-c -q -f listening.cfg", 0, ""),
        ("-c -- listening.cfg", 0, "Configuration file is valid\n"),
        ("-c -f bad.cfg", 1, ""),
        ("-c -q -f bad.cfg", 1, ""),
        (
            "-c -f warned.cfg",
            0,
            "Warnings were found.\nConfiguration file is valid\n",
        ),
        ("-c -q -f warned.cfg", 0, ""),
        ("-c -dW -f warned.cfg", 1, ""),
        ("-c -f zero.cfg", 1, ""),
        ("-c -f quiet.cfg", 1, ""),
        (
            "-c -f silent.cfg",
            2,
            "Configuration file has no error but will not start (no listener) => exit(2).\n",
        ),
        ("-c -q -f silent.cfg", 2, ""),
        ("-c -f /nonexistent.cfg", 1, ""),
        ("-c -C /nonexistent -f listening.cfg", 1, ""),
        (
            "-c -n abc -m 0 -f listening.cfg",
            0,
            "Configuration file is valid\n",
        ),
    ] {
        let ours = bench.run(arguments.split(' '));
        assert_eq!(
            (ours.code(), ours.stdout.as_str()),
            (Some(code), stdout),
            "{arguments}: {}",
            ours.stderr
        );
        if let Some(theirs) =
            bench.oracle("a check has the exit code of haproxy", arguments.split(' '))
        {
            assert_eq!(
                (theirs.code(), theirs.stdout.as_str()),
                (Some(code), stdout),
                "haproxy {arguments}"
            );
            assert_eq!(
                ours.stderr.is_empty(),
                theirs.stderr.is_empty(),
                "{arguments}: {}",
                ours.stderr
            );
        }
    }
}

#[test]
fn messages_that_scripts_read_are_those_of_haproxy_to_the_letter() {
    let bench = Bench::new();
    files(&bench);
    for (arguments, line) in [
        (
            "-c -f bad.cfg",
            "[ALERT]    (PID) : config : parsing [bad.cfg:2] : unknown keyword 'bnid' in 'frontend' section; did you mean 'bind' maybe ?",
        ),
        (
            "-c -f bad.cfg",
            "[ALERT]    (PID) : config : Error(s) found in configuration file : bad.cfg",
        ),
        (
            "-c -f bad.cfg",
            "[ALERT]    (PID) : config : Fatal errors found in configuration.",
        ),
        (
            "-c -dW -f warned.cfg",
            "[ALERT]    (PID) : config : Some warnings were found and 'zero-warning' is set. Aborting.",
        ),
        (
            "-c -f /nonexistent.cfg",
            "[ALERT]    (PID) : config : Cannot open configuration file/directory /nonexistent.cfg : No such file or directory",
        ),
        (
            "-c -C /nonexistent -f listening.cfg",
            "[ALERT]    (PID) : Could not change to directory /nonexistent : No such file or directory",
        ),
    ] {
        let ours = bench.run(arguments.split(' '));
        assert!(
            ours.messages().iter().any(|said| said == line),
            "{arguments}: {}",
            ours.stderr
        );
        if let Some(theirs) = bench.oracle("messages are those of haproxy", arguments.split(' ')) {
            assert!(
                theirs.messages().iter().any(|said| said == line),
                "haproxy {arguments}: {}",
                theirs.stderr
            );
        }
    }
}

#[test]
fn conditions_on_the_command_line_give_true_false_or_not_understood() {
    let bench = Bench::new();
    for (condition, code) in [
        ("version_atleast(2.0)", 0),
        ("version_atleast(99)", 1),
        ("feature(THREAD)", 0),
        ("!feature(THREAD)", 1),
        ("nonsense(1)", 2),
        ("", 1),
    ] {
        let ours = bench.run(["-cc", condition]);
        assert_eq!(ours.code(), Some(code), "{condition}: {}", ours.stderr);
        if let Some(theirs) = bench.oracle("conditions give the same", ["-cc", condition]) {
            assert_eq!(theirs.code(), Some(code), "haproxy {condition}");
        }
    }
}

#[test]
fn a_command_line_that_is_not_understood_shows_the_usage_on_standard_error() {
    let bench = Bench::new();
    for arguments in ["-zz", "file.cfg", "-c file.cfg", "-4", "-cc"] {
        let ours = bench.run(arguments.split(' '));
        assert_eq!(ours.code(), Some(1), "{arguments}");
        assert!(
            ours.stderr.starts_with("Usage : haproxy "),
            "{arguments}: {}",
            ours.stderr
        );
        assert!(ours.stdout.starts_with("HAProxy version "), "{arguments}");
    }
}

#[test]
fn a_directory_gives_its_cfg_files_only() {
    let bench = Bench::new();
    std::fs::create_dir(bench.scratch.path().join("conf.d")).unwrap();
    bench.file("conf.d/a.cfg", &crate::harness::listening(18990, ""));
    bench.file("conf.d/b.txt", "nonsense\n");
    let ours = bench.run(["-c", "-f", "conf.d"]);
    assert_eq!(
        (ours.code(), ours.stdout.as_str()),
        (Some(0), "Configuration file is valid\n"),
        "{}",
        ours.stderr
    );
}

#[test]
fn versions_are_printed_in_the_lines_scripts_expect() {
    let bench = Bench::new();
    let first = bench.run(["-v"]);
    assert_eq!(first.code(), Some(0));
    assert!(
        first.stdout.starts_with("HAProxy version 3."),
        "{}",
        first.stdout
    );
    let build = bench.run(["-vv"]);
    assert!(build.stdout.contains("\nFeature list :") && build.stdout.contains("bufsize = 16384"));
    assert_eq!(bench.run(["-dKhelp"]).code(), Some(0));
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let bench = Bench::new();
    bench.listening(18990, "");
    for flag in ["-dC", "-dt"] {
        let ours = bench.run([flag, "-f", "listening.cfg"]);
        assert_eq!(ours.code(), Some(1), "{flag}");
        assert!(
            ours.stderr.contains("not supported"),
            "{flag}: {}",
            ours.stderr
        );
    }
}

#[test]
fn a_directory_without_files_is_as_no_file_to_either_program() {
    let bench = Bench::new();
    std::fs::create_dir(bench.scratch.path().join("empty")).unwrap();
    for arguments in ["-f empty", "-c -f empty", "-W -f empty"] {
        let theirs = bench.oracle("an empty directory", arguments.split(' '));
        let ours = bench.run(arguments.split(' '));
        for outcome in std::iter::once(ours).chain(theirs) {
            assert_eq!(outcome.code(), Some(1), "{arguments} {}", outcome.stderr);
            let usage = outcome.stderr.contains("Usage : haproxy");
            assert!(usage, "{arguments} {}", outcome.stderr);
        }
    }
}
