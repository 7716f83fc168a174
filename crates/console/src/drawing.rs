//! Draws each live page once for all browsers with the same view. The events between two polls of
//! the platform are the same for all of these browsers, except for the CSRF token of their forms.

use crate::inquiry::{ProxyQuery, ProxyResponse};
use crate::page::{self, ConsolePage, PageContext, PageQuery};
use crate::platform::Platform;
use crate::user::{UserRole, Viewer};
use part::lock;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// A page, with the settings that determine its content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PageView {
    pub page: ConsolePage,
    /// Filter: only entries with these words are shown. Empty: all.
    pub filter: String,
    /// Name of the only machine that is shown. Empty: all machines.
    pub member: String,
    pub role: UserRole,
    pub ask: Option<ProxyQuery>,
}

/// All live pages that at least one browser follows.
#[derive(Debug)]
pub struct LivePages {
    /// Placeholder in a drawing for the CSRF token of each viewer. It is random, so no content can
    /// contain it.
    mark: String,
    known: Mutex<BTreeMap<PageView, Weak<Mutex<DrawnPage>>>>,
}

/// Position of one browser in the events of a live page.
#[derive(Debug)]
pub struct PageFollower {
    view: PageView,
    drawing: Arc<Mutex<DrawnPage>>,
    /// Number of the drawing that the browser has; 0: none.
    has: u64,
}

/// Last drawing of a page.
#[derive(Debug, Default)]
struct DrawnPage {
    /// Platform and proxy response from which the page was drawn.
    of: Option<PageData>,
    number: u64,
    pieces: BTreeMap<&'static str, String>,
    /// Event that changes the previous drawing into this one.
    step: String,
}

/// The data from which a page is drawn.
#[derive(Clone, Debug)]
pub struct PageData {
    pub platform: Arc<Platform>,
    pub answer: Option<Arc<ProxyResponse>>,
}

impl PageData {
    /// Returns whether both pages were drawn from the same poll of the platform and the same
    /// response of the proxy.
    fn is(&self, other: &PageData) -> bool {
        let answers = match (&self.answer, &other.answer) {
            (None, None) => true,
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        };
        answers && Arc::ptr_eq(&self.platform, &other.platform)
    }
}

impl LivePages {
    /// Creates the set of live pages, with none followed.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> Result<LivePages, String> {
        let digits = data_encoding::HEXLOWER.encode(&::access::random::random::<16>()?);
        Ok(LivePages {
            mark: format!("token-{digits}"),
            known: Mutex::default(),
        })
    }

    pub fn follow(&self, view: PageView) -> PageFollower {
        let mut known = lock(&self.known);
        known.retain(|_, drawing| drawing.strong_count() > 0);
        let drawing = known.get(&view).and_then(Weak::upgrade).unwrap_or_default();
        known.insert(view.clone(), Arc::downgrade(&drawing));
        PageFollower {
            view,
            drawing,
            has: 0,
        }
    }

    /// Returns the next event of a page (WHATWG HTML, 9.2): the changes since the last event of
    /// this browser.
    pub fn next(&self, following: &mut PageFollower, seen: &PageData, viewer: &Viewer) -> String {
        // Joins another page if the role of the user has changed while the page is open.
        if following.view.role != viewer.role {
            let role = viewer.role;
            *following = self.follow(PageView {
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

impl DrawnPage {
    fn draw(&mut self, view: &PageView, seen: &PageData, mark: &str) {
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
        let shown = PageContext {
            platform: &seen.platform,
            viewer: &viewer,
            filter: &view.filter,
            member: Some(view.member.as_str()).filter(|member| !member.is_empty()),
            outcome: None,
            page_query: view.ask.as_ref().map(|ask| PageQuery {
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

/// Writes the changes as one event. JSON has no line breaks outside of its strings and escapes
/// those within, so the data is one line.
fn event(changed: &Map<String, Value>) -> String {
    let data = serde_json::to_string(changed).unwrap_or_default();
    format!("data: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    const NOTHING: &str = "data: {}\n\n";

    fn viewer(role: UserRole, csrf: &str) -> Viewer {
        Viewer {
            name: "anna".to_owned(),
            role,
            csrf: csrf.to_owned(),
            token: None,
        }
    }

    fn view(role: UserRole) -> PageView {
        PageView {
            page: ConsolePage::Traffic,
            filter: String::new(),
            member: String::new(),
            role,
            ask: None,
        }
    }

    fn seen(platform: Platform) -> PageData {
        PageData {
            platform: Arc::new(platform),
            answer: None,
        }
    }

    #[test]
    fn browsers_that_see_the_same_share_a_drawing_and_have_their_own_tokens() {
        let drawings = LivePages::new().unwrap();
        let [mut one, mut two] = [UserRole::Operator; 2].map(|role| drawings.follow(view(role)));
        assert!(Arc::ptr_eq(&one.drawing, &two.drawing));
        let (anna, bert) = (
            viewer(UserRole::Operator, "ANNA"),
            viewer(UserRole::Operator, "BERT"),
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
        // A browser that has missed events gets the whole page, and a viewer with another role a
        // different page.
        let mut late = drawings.follow(view(UserRole::Operator));
        let whole = drawings.next(&mut late, &broken, &anna);
        assert!(whole.len() >= step.len());
        assert_eq!(
            drawings
                .next(&mut two, &broken, &bert)
                .replace("BERT", "ANNA"),
            step
        );
        let vera = viewer(UserRole::Viewer, "VERA");
        let as_viewer = drawings.next(&mut two, &broken, &vera);
        assert!(!as_viewer.contains("VERA") && as_viewer != NOTHING);
        assert_eq!(lock(&drawings.known).len(), 2);
        drop((one, two, late));
        let _last = drawings.follow(view(UserRole::Admin));
        assert_eq!(lock(&drawings.known).len(), 1);
    }

    #[test]
    fn unchanged_snapshots_send_nothing() {
        let drawings = LivePages::new().unwrap();
        let mut one = drawings.follow(PageView {
            page: ConsolePage::Configuration,
            ..view(UserRole::Admin)
        });
        let anna = viewer(UserRole::Admin, "ANNA");
        let looks = [(); 2].map(|()| seen(sample::platform()));
        assert_ne!(drawings.next(&mut one, &looks[0], &anna), NOTHING);
        assert_eq!(drawings.next(&mut one, &looks[1], &anna), NOTHING);
    }
}
