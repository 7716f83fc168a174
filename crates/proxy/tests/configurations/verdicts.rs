//! Tests the diagnostics of the undamaged sample files: they load, and only features that do not
//! exist are refused.

use crate::corpus::{load_text, of_directory, own_directory};
use language::render;

/// Codes for known features that are not supported, and for sections of other programs.
const NOT_BUILT: &[&str] = &["E0103", "E0432", "E0433", "E0434", "E0435"];

#[test]
fn our_own_files_load_and_only_what_is_not_built_is_refused() {
    let mut refused = String::new();
    for sample in of_directory(&own_directory()) {
        let loaded = load_text(&sample.name, &sample.text);
        let whole = !sample.name.starts_with("unbuilt");
        let bad = loaded.diagnostics.iter().any(|d| {
            d.severity == language::Severity::Error && (whole || !NOT_BUILT.contains(&d.code.id))
        });
        if bad {
            refused += &render::concise(&loaded.sources, &loaded.diagnostics, false);
        }
    }
    assert!(refused.is_empty(), "{refused}");
}
