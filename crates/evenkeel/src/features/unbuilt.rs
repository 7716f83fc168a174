//! Defines rows for the parts that this program was built without. Each section or line of such a
//! part is an error that names the part, so that it is not taken for a misspelt keyword.

use super::Feature;
use configuration::codes::UNBUILT;
use configuration::{ConfigurationPart, Context, Exchange, PartDraft, Sections};
use language::{ConfigLine, Diagnostic};
use std::any::Any;

/// Defines the row of a part that is not built: its name, its sections, and its lines in sections of
/// other parts.
macro_rules! unbuilt {
    ($name:literal, $names:expr, $lines_in:expr) => {
        Feature {
            part: {
                static PART: ConfigurationPart = ConfigurationPart {
                    name: $name,
                    sections: Sections {
                        names: $names,
                        lines_in: $lines_in,
                        ..Sections::NONE
                    },
                    documented: Vec::new,
                    codes: Vec::new,
                    exports: &[],
                    begin: |_| {
                        Box::new(UnbuiltSections {
                            part: $name,
                            names: $names,
                            current: None,
                        })
                    },
                    run: None,
                };
                &PART
            },
            role: None,
            commands: &[],
        }
    };
}

static UNBUILT_PARTS: &[Feature] = &[
    #[cfg(not(feature = "volume"))]
    unbuilt!("volume", &[("volume", ""), ("volume-defaults", "")], &[]),
    #[cfg(not(feature = "guest"))]
    unbuilt!("guest", &[("guest", "")], &[("node", &["fence", "room"])]),
    #[cfg(not(feature = "boot"))]
    unbuilt!("boot", &[("boot", "")], &[]),
    #[cfg(not(feature = "cluster"))]
    unbuilt!("cluster", &[("config", "")], &[]),
    #[cfg(not(feature = "farm"))]
    unbuilt!("farm", &[("farm", "")], &[]),
    #[cfg(not(feature = "console"))]
    unbuilt!("console", &[("console", "")], &[]),
    #[cfg(not(feature = "demonstration"))]
    unbuilt!("demonstration", &[("demonstration", "")], &[]),
];

pub fn parts() -> impl Iterator<Item = &'static Feature> {
    UNBUILT_PARTS.iter()
}

/// Sections of a part that is not built.
#[derive(Debug)]
struct UnbuiltSections {
    part: &'static str,
    names: &'static [(&'static str, &'static str)],
    /// Name of the current section if it belongs to another part and may contain lines of this
    /// part.
    current: Option<&'static str>,
}

impl UnbuiltSections {
    fn refuse(&self, context: &mut Context, line: &ConfigLine) {
        let words = format!("this evenkeel was built without the part {}", self.part);
        let refused = Diagnostic::error(&UNBUILT, line.span, words)
            .label("needs the part")
            .help("install a complete evenkeel, or remove these lines");
        context.report(refused);
    }
}

impl PartDraft for UnbuiltSections {
    fn section(&mut self, context: &mut Context, head: &ConfigLine) {
        let name = head.words.first().map_or("", |word| word.str());
        let is_own = self.names.iter().any(|(own, _)| *own == name);
        self.current = (!is_own).then_some("node");
        if is_own {
            self.refuse(context, head);
        }
    }

    fn current_section(&self) -> Option<&'static str> {
        self.current
    }

    fn line(&mut self, context: &mut Context, line: &ConfigLine) {
        if self.current.is_some() {
            self.refuse(context, line);
        }
    }

    fn finish(self: Box<Self>, _: &mut Context, _: &mut Exchange) -> Box<dyn Any> {
        Box::new(())
    }
}

#[cfg(all(test, not(feature = "volume"), not(feature = "guest")))]
mod tests {
    use crate::parts::load_files;
    use configuration::LoadOptions;
    use language::render;

    #[test]
    fn section_of_an_unbuilt_part_names_the_part() {
        let text = "node alpha\n    address 192.0.2.1\n    fence exec /off\nvolume mail\n    size 1g\n    on alpha\n";
        let files = vec![("site.cfg".to_owned(), text.as_bytes().to_vec())];
        let site = load_files(files, None, LoadOptions::default(), None);
        let words = render::concise(&site.proxy.sources, &site.proxy.diagnostics, true);
        assert_eq!(words.matches("error[E0114]").count(), 2, "{words}");
        for part in ["guest", "volume"] {
            let expected = format!("this evenkeel was built without the part {part}");
            assert!(words.contains(&expected), "{words}");
        }
    }
}
