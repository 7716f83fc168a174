//! Reads the files of noVNC, spice-html5 and xterm.js from the installed packages, and names the
//! paths under which they are served.

use part::voice::write_error;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Contents of library files, by the paths under which they are served to browsers.
pub(super) type StaticFiles = BTreeMap<String, Arc<[u8]>>;

const FILES_MAX: usize = 256;
const FILE_BYTES_MAX: u64 = 1 << 20;
const DEPTH_MAX: usize = 6;

const OF_NOVNC: [&str; 2] = ["core", "vendor"];

/// Path of the style sheet of xterm.js, relative to the directory of the modules: the style sheet
/// is in another package, on which the package of the modules depends.
const STYLE: &str = "../../javascript/xterm/xterm.css";
const MAIN: &str = "public/Terminal";
/// Beginning of the single module that contains all modules of xterm.js. These are Node.js modules,
/// and a browser has no `require`.
const BEGIN: &str = "const modules = {\n";
const END: &str = "};
const loaded = {};
const load = (path) => {
  if (!(path in loaded)) {
    const module = (loaded[path] = { exports: {} });
    const require = (name) => load(new URL(name, `file:///${path}`).pathname.slice(1));
    modules[path](require, module, module.exports);
  }
  return loaded[path].exports;
};
export const Terminal = load(\"public/Terminal\").Terminal;
";

pub(super) fn modules(directory: &Path) -> StaticFiles {
    let mut files = StaticFiles::new();
    for below in OF_NOVNC {
        add(
            &directory.join(below),
            &format!("novnc/{below}"),
            0,
            &mut files,
        );
    }
    files
}

/// Reads the modules of spice-html5 in a directory, without the loader for browsers that have no
/// modules.
pub(super) fn spice(directory: &Path) -> StaticFiles {
    let mut files = StaticFiles::new();
    for below in ["", "/thirdparty"] {
        let path = format!("spice-html5{below}");
        let directory = directory.join(below.trim_start_matches('/'));
        add(&directory, &path, DEPTH_MAX, &mut files);
    }
    files
}

/// Reads xterm.js below a directory: all its modules as a single module, and its style sheet.
pub(super) fn terminal(directory: &Path) -> StaticFiles {
    let mut all = StaticFiles::new();
    add(&directory.join("lib"), "", 0, &mut all);
    let mut module = BEGIN.as_bytes().to_vec();
    let mut has_main = false;
    for (path, bytes) in &all {
        let path = path.trim_start_matches('/').trim_end_matches(".js");
        // Skips modules with other characters in the path, which could end the string literal, and
        // addons.
        let is_plain = |one: char| one.is_ascii_alphanumeric() || "/_-".contains(one);
        if !path.chars().all(is_plain) || path.starts_with("addons/") {
            continue;
        }
        has_main |= path == MAIN;
        module.extend_from_slice(
            format!("\"{path}\": (require, module, exports) => {{\n").as_bytes(),
        );
        module.extend_from_slice(bytes);
        module.extend_from_slice(b"\n},\n");
    }
    module.extend_from_slice(END.as_bytes());
    let style = read(&directory.join(STYLE));
    let files = [
        ("xterm/xterm.js", module),
        ("xterm/xterm.css", style.unwrap_or_default()),
    ];
    let files = files.map(|(path, bytes)| (path.to_owned(), bytes.into()));
    if has_main {
        StaticFiles::from(files)
    } else {
        StaticFiles::new()
    }
}

/// Reads the files `*.js` of a directory and of its subdirectories, at most [`FILES_MAX`].
/// Unreadable files are skipped, and those over a limit are reported: a display may need them.
fn add(directory: &Path, path: &str, depth: usize, files: &mut StaticFiles) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let (Some(name), Ok(kind)) = (name.to_str(), entry.file_type()) else {
            continue;
        };
        let path = format!("{path}/{name}");
        if kind.is_dir() && depth < DEPTH_MAX {
            add(&entry.path(), &path, depth + 1, files);
        } else if name.ends_with(".js") && files.len() >= FILES_MAX {
            let directory = directory.display();
            return write_error(&format!(
                "evenkeel: {directory}: not all files are served, since there are more than {FILES_MAX}\n"
            ));
        } else if name.ends_with(".js")
            && let Some(bytes) = read(&entry.path())
        {
            files.insert(path, bytes.into());
        }
    }
}

/// Reads a whole file. Part of a module would only cause errors in the browser.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = fs::File::open(path).ok()?.take(FILE_BYTES_MAX + 1);
    let count = file.read_to_end(&mut bytes).ok()?;
    if count as u64 > FILE_BYTES_MAX {
        write_error(&format!(
            "evenkeel: {} is not served, since it has more than {} MiB\n",
            path.display(),
            FILE_BYTES_MAX >> 20
        ));
        return None;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;

    /// Returns a directory with these files, each with its own path as its content.
    fn having(files: &[&str]) -> ScratchDirectory {
        let scratch = ScratchDirectory::new().unwrap();
        for file in files {
            let path = scratch.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        scratch
    }

    #[test]
    fn modules_are_served_and_nothing_else() {
        let scratch = having(&[
            "core/rfb.js",
            "core/util/int.js",
            "core/README.md",
            "vendor/pako.js",
            "app/ui.js",
            "vnc.html",
        ]);
        let files = modules(scratch.path());
        let paths: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "novnc/core/rfb.js",
                "novnc/core/util/int.js",
                "novnc/vendor/pako.js"
            ]
        );
        assert_eq!(&*files["novnc/core/util/int.js"], b"core/util/int.js");
        assert!(modules(&scratch.path().join("nothing")).is_empty());
    }

    #[test]
    fn file_over_the_limit_is_not_served_in_part() {
        let scratch = having(&["core/rfb.js"]);
        for (bytes, is_served) in [(FILE_BYTES_MAX, true), (FILE_BYTES_MAX + 1, false)] {
            let large = fs::File::create(scratch.path().join("core/large.js")).unwrap();
            large.set_len(bytes).unwrap();
            let files = modules(scratch.path());
            assert_eq!(files.contains_key("novnc/core/large.js"), is_served);
        }
    }

    #[test]
    fn modules_of_spice_are_served_without_the_loader_for_old_browsers() {
        let scratch = having(&[
            "main.js",
            "spice.html",
            "thirdparty/jsbn.js",
            "thirdparty/browser-es-module-loader/dist/babel-worker.js",
        ]);
        let files = spice(scratch.path());
        let paths: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            ["spice-html5/main.js", "spice-html5/thirdparty/jsbn.js"]
        );
        assert!(spice(&scratch.path().join("nothing")).is_empty());
    }

    #[test]
    fn the_modules_of_a_terminal_become_one_without_tests_and_addons() {
        let scratch = having(&[
            "nodejs/xterm/lib/public/Terminal.js",
            "nodejs/xterm/lib/Buffer.js",
            "nodejs/xterm/lib/Buffer.test.js",
            "nodejs/xterm/lib/a\".js",
            "nodejs/xterm/lib/addons/fit/fit.js",
            "javascript/xterm/xterm.css",
        ]);
        let files = terminal(&scratch.path().join("nodejs/xterm"));
        let module = String::from_utf8(files["xterm/xterm.js"].to_vec()).unwrap();
        let module = module.strip_suffix(END).unwrap();
        insta::assert_snapshot!(module, @r#"
        const modules = {
        "Buffer": (require, module, exports) => {
        nodejs/xterm/lib/Buffer.js
        },
        "public/Terminal": (require, module, exports) => {
        nodejs/xterm/lib/public/Terminal.js
        },
        "#);
        assert_eq!(&*files["xterm/xterm.css"], b"javascript/xterm/xterm.css");
        // Serves nothing from another version of the package, which has other files.
        let other = having(&["lib/xterm.js"]);
        assert!(terminal(other.path()).is_empty());
    }
}
