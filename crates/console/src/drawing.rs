//! Live pages, each drawn once for all browsers that see the same: the events between two looks at the
//! platform are the same for all of them, but for the token of their forms.

use crate::inquiry::{Answer, Ask};
use crate::page::{self, Asked, Page, Shown};
use crate::platform::Platform;
use crate::user::{Role, Viewer};
use part::lock;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// What a page shows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct View {
    /// The page.
    pub page: Page,
    /// Only what has these words.
    pub filter: String,
    /// Only this machine; empty: all.
    pub member: String,
    /// What the viewer may do.
    pub role: Role,
    /// What the page asks of the proxy.
    pub ask: Option<Ask>,
}

/// All live pages.
#[derive(Debug)]
pub struct Drawings {
    /// Stands for the token of the viewer's forms; nobody can guess it.
    mark: String,
    known: Mutex<BTreeMap<View, Weak<Mutex<Drawing>>>>,
}

/// A live page as one browser follows it.
#[derive(Debug)]
pub struct Following {
    view: View,
    drawing: Arc<Mutex<Drawing>>,
    /// The drawing that the browser has; zero: none.
    has: u64,
}

/// A page as it was drawn last.
#[derive(Debug, Default)]
struct Drawing {
    /// Of which platform, and with which answer of the proxy.
    of: Option<Seen>,
    /// How many different ones there were.
    number: u64,
    pieces: BTreeMap<&'static str, String>,
    /// The event that leads here from the one before.
    step: String,
}

/// What a page is drawn of.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The platform.
    pub platform: Arc<Platform>,
    /// What the proxy says to what the page asks.
    pub answer: Option<Arc<Answer>>,
}

impl Seen {
    /// Whether two are of the same look and the same answer.
    fn is(&self, other: &Seen) -> bool {
        let answers = match (&self.answer, &other.answer) {
            (None, None) => true,
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        };
        answers && Arc::ptr_eq(&self.platform, &other.platform)
    }
}

impl Drawings {
    /// None yet.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> Result<Drawings, String> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "there are no random numbers".to_owned())?;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Drawings {
            mark: format!("token-{digits}"),
            known: Mutex::default(),
        })
    }

    /// Follows a page.
    pub fn follow(&self, view: View) -> Following {
        let mut known = lock(&self.known);
        known.retain(|_, drawing| drawing.strong_count() > 0);
        let drawing = known.get(&view).and_then(Weak::upgrade).unwrap_or_default();
        known.insert(view.clone(), Arc::downgrade(&drawing));
        Following {
            view,
            drawing,
            has: 0,
        }
    }

    /// The next event of a page (WHATWG HTML, 9.2): what changed since the last one.
    pub fn next(&self, following: &mut Following, seen: &Seen, viewer: &Viewer) -> String {
        // Somebody's role may change while they look.
        if following.view.role != viewer.role {
            let role = viewer.role;
            *following = self.follow(View {
                role,
                ..following.view.clone()
            });
        }
        let mut drawing = lock(&following.drawing);
        drawing.draw(&following.view, seen, &self.mark);
        let event = match drawing.number - following.has {
            0 => event(&Map::new()),
            1 if following.has > 0 => drawing.step.clone(),
            _ => event(&all(&drawing.pieces)),
        };
        following.has = drawing.number;
        event.replace(&self.mark, &viewer.csrf)
    }
}

impl Drawing {
    fn draw(&mut self, view: &View, seen: &Seen, mark: &str) {
        if self.of.as_ref().is_some_and(|of| of.is(seen)) {
            return;
        }
        self.of = Some(seen.clone());
        let viewer = Viewer {
            name: String::new(),
            role: view.role,
            csrf: mark.to_owned(),
            token: None,
        };
        let shown = Shown {
            platform: &seen.platform,
            viewer: &viewer,
            filter: &view.filter,
            member: Some(view.member.as_str()).filter(|member| !member.is_empty()),
            told: None,
            asked: view.ask.as_ref().map(|ask| Asked {
                ask,
                answer: seen.answer.as_deref(),
            }),
        };
        let mut changed = Map::new();
        for (id, piece) in page::pieces(&view.page, &shown) {
            if self.pieces.get(id) != Some(&piece) {
                changed.insert(id.to_owned(), piece.clone().into());
                self.pieces.insert(id, piece);
            }
        }
        if !changed.is_empty() {
            self.number += 1;
            self.step = event(&changed);
        }
    }
}

fn all(pieces: &BTreeMap<&'static str, String>) -> Map<String, Value> {
    let all = pieces.iter();
    all.map(|(id, piece)| ((*id).to_owned(), piece.clone().into()))
        .collect()
}

/// JSON has no line breaks outside of its strings, and escapes those within.
fn event(changed: &Map<String, Value>) -> String {
    let data = serde_json::to_string(changed).unwrap_or_default();
    format!("data: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    const NOTHING: &str = "data: {}\n\n";

    fn viewer(role: Role, csrf: &str) -> Viewer {
        Viewer {
            name: "anna".to_owned(),
            role,
            csrf: csrf.to_owned(),
            token: None,
        }
    }

    fn view(role: Role) -> View {
        View {
            page: Page::Traffic,
            filter: String::new(),
            member: String::new(),
            role,
            ask: None,
        }
    }

    fn seen(platform: Platform) -> Seen {
        Seen {
            platform: Arc::new(platform),
            answer: None,
        }
    }

    #[test]
    fn browsers_that_see_the_same_share_a_drawing_and_have_their_own_tokens() {
        let drawings = Drawings::new().unwrap();
        let [mut one, mut two] = [Role::Operator; 2].map(|role| drawings.follow(view(role)));
        assert!(Arc::ptr_eq(&one.drawing, &two.drawing));
        let (anna, bert) = (
            viewer(Role::Operator, "ANNA"),
            viewer(Role::Operator, "BERT"),
        );
        let platform = seen(sample::platform());
        let first = drawings.next(&mut one, &platform, &anna);
        assert!(
            first.contains("ANNA") && !first.contains("BERT") && !first.contains(&drawings.mark)
        );
        assert_eq!(drawings.next(&mut one, &platform, &anna), NOTHING);
        let second = drawings.next(&mut two, &platform, &bert);
        assert_eq!(second.replace("BERT", "ANNA"), first);
        let broken = seen(sample::broken());
        let step = drawings.next(&mut one, &broken, &anna);
        assert!(step != NOTHING && step != first);
        // One that missed looks gets everything, and one of another role something else.
        let mut late = drawings.follow(view(Role::Operator));
        let whole = drawings.next(&mut late, &broken, &anna);
        assert!(whole.len() >= step.len());
        assert_eq!(
            drawings
                .next(&mut two, &broken, &bert)
                .replace("BERT", "ANNA"),
            step
        );
        let vera = viewer(Role::Viewer, "VERA");
        let as_viewer = drawings.next(&mut two, &broken, &vera);
        assert!(!as_viewer.contains("VERA") && as_viewer != NOTHING);
        assert_eq!(lock(&drawings.known).len(), 2);
        drop((one, two, late));
        let _last = drawings.follow(view(Role::Admin));
        assert_eq!(lock(&drawings.known).len(), 1);
    }

    #[test]
    fn looks_that_change_nothing_send_nothing() {
        let drawings = Drawings::new().unwrap();
        let mut one = drawings.follow(View {
            page: Page::Configuration,
            ..view(Role::Admin)
        });
        let anna = viewer(Role::Admin, "ANNA");
        let looks = [(); 2].map(|()| seen(sample::platform()));
        assert_ne!(drawings.next(&mut one, &looks[0], &anna), NOTHING);
        assert_eq!(drawings.next(&mut one, &looks[1], &anna), NOTHING);
    }
}
