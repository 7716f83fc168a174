//! Builds the named conditions of a section from `acl` lines.

use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::Diagnostic;
use model::compiled::AdmissionLine;
use model::rules::draft::Section;
use model::rules::{Test, check_acl_name, codes};

pub static LINES: &[LineRow] = language::rows! {
    "acl <name> <expression> [<flag>...] [<pattern>...]" &["defaults", "frontend", "listen", "backend", "fcgi-app"],
        acl,
        "acl is_static path_beg -i /static/ /images/",
        "Defines a named test for conditions in this section: an expression and patterns, at least one of which must \
         match. Several lines with the same name are alternatives. In a named `defaults` section, the ACL is for the \
         rules of that section.";
};

fn acl(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.required("the name of an ACL")?;
    check_acl_name(name)?;
    if let Section::Defaults(index) = loader.section
        && loader.defaults[index].proxy.name.is_empty()
    {
        return Err(Diagnostic::error(
            &codes::ANONYMOUS_DEFAULTS,
            args.keyword_span(),
            "'acl' not allowed in anonymous 'defaults' section",
        )
        .label("give the section a name, or put the line into the proxies"));
    }
    let words = args.rest();
    // Declares the name even if the rest of the line is invalid, so that its uses are not reported
    // as well.
    let uses = loader.config.lists.use_count();
    match Test::parse(loader, words, args.line().end(), None) {
        Ok(test) => {
            let uses = uses..loader.config.lists.use_count();
            let line = AdmissionLine::new(args.line(), uses);
            loader.acls.add(&name.text(), name.span, test, line);
            Ok(())
        }
        Err(diagnostic) => {
            loader.acls.declare(&name.text(), name.span);
            Err(diagnostic)
        }
    }
}
