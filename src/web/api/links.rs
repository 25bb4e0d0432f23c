//! The `Link` header of a page: the pages before and after it, in the same order.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc8288>. All links use cursors that name a roll by id
//! and time, so that a client that pages through a history notices when it was replaced or restored.

use crate::cursor::Cursor;
use crate::roll::{Roll, RollId};
use crate::store::{FilteredPage, Order, Page};
use crate::web::api::query::PageQuery;

/// The links to the pages around a page; empty without any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    pub prev: Option<String>,
    pub next: Option<String>,
}

/// The roll that bounds the page before this one, whose cursor [`Links::of`] needs.
pub fn bound_of_prev(query: &PageQuery, page: &Page) -> Option<RollId> {
    let (oldest, newest) = page.edges()?;
    match query.order() {
        Order::OldestFirst => {
            let bound = RollId(oldest.id.0 - 1 - query.limit as i64);
            (oldest.id > page.kept.oldest).then_some(bound.max(RollId::BEFORE_FIRST))
        }
        Order::NewestFirst => {
            query.range.before?;
            Some(bound_of_newer(query, newest.id)).filter(|bound| *bound <= page.kept.head.id)
        }
    }
}

/// Whether no later roll can change the page or its links. A page that begins at a time can always
/// change, because the clock may be set back.
pub fn is_final(query: &PageQuery, page: &Page) -> bool {
    // Somebody may repair a row.
    if !page.unreadable.is_empty() {
        return false;
    }
    let head = page.kept.head.id;
    let is_past = query.range.before.is_some_and(|before| before.id <= head.next());
    match query.order() {
        Order::OldestFirst if query.range.after.is_none() => false,
        Order::OldestFirst => is_past || page.rolls.len() == query.limit,
        // The link to the newer page changes until that page is full.
        Order::NewestFirst => {
            let is_full = |first: &Roll| bound_of_newer(query, first.id) <= head;
            is_past && page.rolls.first().is_none_or(is_full)
        }
    }
}

/// Whether no later roll can change a page of rolls with a result, or its link.
pub fn is_filtered_final(query: &PageQuery, page: &FilteredPage) -> bool {
    let head = page.kept.head.id;
    let is_past = query.range.before.is_some_and(|before| before.id <= head.next());
    let is_bounded = query.range.after.is_some() || query.range.since.is_none();
    is_bounded
        && page.unreadable.is_empty()
        && (is_past || (query.order() == Order::OldestFirst && page.goes_on))
}

impl Links {
    /// The links around a page; `bound` is the cursor of the roll of [`bound_of_prev`].
    pub fn of(query: &PageQuery, page: &Page, bound: Option<Cursor>) -> Links {
        let Some((oldest, newest)) = page.edges() else { return Links::default() };
        match query.order() {
            Order::OldestFirst => {
                let before = query.range.before;
                let is_full = page.n_rows() == query.limit;
                let is_more = is_full && before.is_none_or(|before| newest.id.next() < before.id);
                Links {
                    prev: bound.map(|bound| query.link(Some(bound), Some(oldest))),
                    next: is_more.then(|| query.link(Some(newest), before)),
                }
            }
            Order::NewestFirst => Links {
                // Without a bound, the newest page.
                prev: query.range.before.map(|_| query.link(None, bound)),
                next: (oldest.id > page.kept.oldest).then(|| query.link(None, Some(oldest))),
            },
        }
    }

    /// The link on from a page of rolls with a result. There is no link back: only a search could
    /// tell where the page before begins.
    pub fn of_filtered(query: &PageQuery, page: &FilteredPage) -> Links {
        let next = || match query.order() {
            Order::OldestFirst => query.link(Some(page.newest_searched), query.range.before),
            Order::NewestFirst => query.link(None, Some(page.oldest_searched)),
        };
        Links { prev: None, next: page.goes_on.then(next) }
    }

    /// The value of the `Link` header; empty without links.
    pub fn header(&self) -> String {
        let link = |rel: &str, address: &Option<String>| {
            address.as_ref().map(|address| format!("<{address}>; rel=\"{rel}\""))
        };
        let links = [link("prev", &self.prev), link("next", &self.next)];
        links.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The roll before which the page of newer rolls ends; `newest` is the newest of this page.
fn bound_of_newer(query: &PageQuery, newest: RollId) -> RollId {
    RollId(newest.0 + query.limit as i64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::dice::Results;
    use crate::roll::RolledAt;
    use crate::store::{IdRange, Kept, RollRange, Unreadable};

    /// Roll `id`, which fell `id` milliseconds after the epoch.
    fn roll(id: i64) -> Roll {
        let time = jiff::Timestamp::from_millisecond(id).expect("a time");
        Roll { id: RollId(id), rolled_at: RolledAt::truncate(time), dice: Results(Vec::new()) }
    }

    fn query(text: &str, limit: usize) -> PageQuery {
        let cursor = |name: &str| {
            let value = text.split('&').find_map(|field| field.strip_prefix(name));
            value.map(|value| value.parse().expect("a cursor"))
        };
        let since = text.contains("since").then(|| roll(1).rolled_at);
        let range = RollRange { after: cursor("after="), before: cursor("before="), since };
        PageQuery { range, result: None, limit }
    }

    /// A page of these rolls, where rolls 11 to 50 are stored.
    fn page(ids: impl IntoIterator<Item = i64>) -> Page {
        let kept = Kept { oldest: RollId(11), head: roll(50).cursor() };
        Page { rolls: ids.into_iter().map(roll).collect(), unreadable: Vec::new(), kept }
    }

    /// A search that found nothing in rolls 20 to 30.
    fn filtered_page(goes_on: bool) -> FilteredPage {
        FilteredPage {
            rolls: Vec::new(),
            unreadable: Vec::new(),
            kept: page([]).kept,
            searched: IdRange { after: RollId(19), before: RollId(31) },
            oldest_searched: roll(20).cursor(),
            newest_searched: roll(30).cursor(),
            goes_on,
        }
    }

    fn links(query: &PageQuery, page: &Page) -> (Option<String>, Option<String>) {
        let bound = bound_of_prev(query, page).map(|id| match id {
            // What is pruned has no time.
            id if id < page.kept.oldest => id.into(),
            id => roll(id.0).cursor(),
        });
        let Links { prev, next } = Links::of(query, page, bound);
        let short = |link: String| link.replace("/api/rolls?", "");
        (prev.map(short), next.map(short))
    }

    #[test]
    fn a_page_links_to_the_pages_around_it_in_the_same_order() {
        let some = |text: &str| Some(text.to_string());
        let table = [
            ("", 50..=50, None, some("before=50-50&limit=1")),
            ("before=40", 39..=39, some("before=41-41&limit=1"), some("before=39-39&limit=1")),
            // The newest roll bounds the page before this one.
            ("before=49", 48..=48, some("before=50-50&limit=1"), some("before=48-48&limit=1")),
            ("before=50", 49..=49, some("limit=1"), some("before=49-49&limit=1")),
            ("before=12", 11..=11, some("before=13-13&limit=1"), None),
            (
                "after=20",
                21..=21,
                some("after=19-19&before=21-21&limit=1"),
                some("after=21-21&limit=1"),
            ),
            ("after=0", 11..=11, None, some("after=11-11&limit=1")),
            (
                "after=11",
                12..=12,
                some("after=10&before=12-12&limit=1"),
                some("after=12-12&limit=1"),
            ),
            (
                "after=20&before=30",
                21..=21,
                some("after=19-19&before=21-21&limit=1"),
                some("after=21-21&before=30&limit=1"),
            ),
            ("after=28&before=30", 29..=29, some("after=27-27&before=29-29&limit=1"), None),
        ];
        for (text, ids, prev, next) in table {
            assert_eq!(links(&query(text, 1), &page(ids)), (prev, next), "{text}");
        }
        assert_eq!(links(&query("after=50", 1), &page([])), (None, None));
        let short = links(&query("after=48", 10), &page(49..=50));
        assert_eq!(short, (some("after=38-38&before=49-49&limit=10"), None), "not a full page");
    }

    #[test]
    fn a_page_is_final_once_neither_its_rolls_nor_its_links_can_change() {
        let table = [
            ("", 10, page((41..=50).rev()), false),
            ("before=30", 10, page((20..=29).rev()), true),
            // The newer page, up to roll 49, must be full.
            ("before=40", 10, page((30..=39).rev()), true),
            ("before=41", 10, page((31..=40).rev()), false),
            ("before=51", 10, page((41..=50).rev()), false),
            ("before=11", 10, page([]), true),
            ("before=52", 10, page([]), false),
            ("after=20", 10, page(21..=30), true),
            ("after=45", 10, page(46..=50), false),
            ("after=45&before=51", 10, page(46..=50), true),
            ("after=45&before=52", 10, page(46..=50), false),
            ("after=50", 10, page([]), false),
            ("since", 10, page(11..=20), false),
            ("since&after=20", 10, page(21..=30), true),
        ];
        for (text, limit, page, expected) in table {
            assert_eq!(is_final(&query(text, limit), &page), expected, "{text}");
        }
    }

    #[test]
    fn a_page_with_a_row_that_cannot_be_read_is_never_final() {
        let unreadable = vec![Unreadable { id: RollId(25), reason: "garbage".into() }];
        let query = query("after=20&before=30", 10);
        let plain = page((21..=29).filter(|id| *id != 25));
        assert!(is_final(&query, &plain), "control: every row can be read");
        assert!(!is_final(&query, &Page { unreadable: unreadable.clone(), ..plain }));
        assert!(is_filtered_final(&query, &filtered_page(false)), "control");
        let damaged = FilteredPage { unreadable, ..filtered_page(false) };
        assert!(!is_filtered_final(&query, &damaged));
    }

    #[test]
    fn a_page_of_a_search_is_final_once_later_rolls_cannot_change_it() {
        let table = [
            ("before=31", false, true),
            ("before=52", false, false),
            ("after=19", true, true),
            ("after=19", false, false),
            ("since&after=19", true, true),
            // A clock that is set back moves the begin.
            ("since", true, false),
            ("since&before=31", true, false),
            // Newest first: the next roll belongs to this page.
            ("", true, false),
        ];
        for (text, goes_on, expected) in table {
            let (query, page) = (query(text, 5), filtered_page(goes_on));
            assert_eq!(is_filtered_final(&query, &page), expected, "{text}, goes on: {goes_on}");
        }
    }

    #[test]
    fn a_search_links_on_from_the_last_roll_that_it_covers() {
        let result = Some(crate::dice::DieResult { die: "1D6".parse().expect("a die"), result: 6 });
        let next = |text: &str, goes_on| {
            let query = PageQuery { result, ..query(text, 5) };
            Links::of_filtered(&query, &filtered_page(goes_on))
        };
        let address = |range: &str| Links {
            prev: None,
            next: Some(format!("/api/rolls?{range}&die=1D6&result=6&limit=5")),
        };
        assert_eq!(next("before=31", true), address("before=20-20"));
        assert_eq!(next("after=19", true), address("after=30-30"));
        assert_eq!(next("after=19&before=45", true), address("after=30-30&before=45"));
        assert_eq!(next("after=19", false), Links::default());
    }

    #[test]
    fn the_link_header_contains_only_links_that_exist() {
        let links = Links { prev: Some("/a".into()), next: Some("/b".into()) };
        assert_eq!(links.header(), "</a>; rel=\"prev\", </b>; rel=\"next\"");
        assert_eq!(Links { prev: None, ..links }.header(), "</b>; rel=\"next\"");
        assert_eq!(Links::default().header(), "");
    }
}
