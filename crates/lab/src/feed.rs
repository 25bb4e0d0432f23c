//! A feed that continues after the id that the client sends, and is cut at any byte.

use crate::script::{END_OF_CASE, End, Reply};

/// A feed of numbered events. Each of the first connections ends somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// How many events there are.
    pub n_events: usize,
    /// How many connections end before the feed does.
    pub n_ends: usize,
    /// Connections end by the first, the second, … of these in turn.
    pub ends: &'static [End],
    /// The text of an event with this number as its id, and with this data.
    pub format: fn(usize, &str) -> String,
}

/// An event whose id is its number.
pub fn plain(number: usize, data: &str) -> String {
    format!("id: {number}\ndata: {data}\n\n")
}

impl Feed {
    /// The data of an event, counted from 1.
    pub fn data(number: usize) -> String {
        format!("payload {number}")
    }

    /// The number of the last event that a client has, by its `Last-Event-ID`: a number, with more
    /// after a `-` perhaps.
    pub fn last(last_event_id: &[u8]) -> usize {
        let id = std::str::from_utf8(last_event_id).unwrap_or_default();
        let number = id.split('-').next().unwrap_or_default();
        number.parse().unwrap_or(0)
    }

    /// The answer to the request with this index, which says that it has the events up to `last`.
    /// The connections end at bytes that depend on `seed` and on the index only.
    pub fn reply(&self, index: usize, last: usize, seed: u64) -> Reply {
        // A client may send any id.
        let last = last.min(self.n_events);
        // All ends together take little time.
        let mut text = String::from("retry: 50\n");
        let after_retry = text.len();
        for number in last + 1..=self.n_events {
            text += &(self.format)(number, &Feed::data(number));
        }
        let reply = if index.is_multiple_of(2) { Reply::stream() } else { Reply::until_close() };
        if index >= self.n_ends || last >= self.n_events {
            let end = (self.format)(self.n_events + 1, END_OF_CASE);
            return reply.write(text).write(end).ends(End::Hold);
        }
        // At most one and a half of equal shares, so that every connection leaves events.
        let share = (text.len() - after_retry) / (self.n_ends - index + 1);
        let cut = after_retry + 1 + mix(seed, index as u64) as usize % (share * 3 / 2).max(1);
        text.truncate(cut.min(text.len()));
        reply.write(text).ends(self.ends[index % self.ends.len()])
    }
}

/// A number that depends on both numbers, spread evenly.
/// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Step;

    const FEED: Feed = Feed { n_events: 30, n_ends: 6, ends: &[End::Orderly], format: plain };

    fn text(reply: &Reply) -> String {
        let Step::Write(bytes) = &reply.body[0] else { panic!("a write first") };
        String::from_utf8(bytes.clone()).expect("ASCII")
    }

    #[test]
    fn each_connection_brings_something_and_the_last_one_the_rest() {
        for seed in 0..200 {
            let mut last = 0;
            for index in 0..FEED.n_ends {
                let reply = FEED.reply(index, last, seed);
                let text = text(&reply);
                assert!(text.len() > "retry: 50\n".len());
                // Events whose blank line has arrived.
                last += text.matches("\n\n").count();
                assert!(last < FEED.n_events, "seed {seed}");
            }
            let rest = text(&FEED.reply(FEED.n_ends, last, seed));
            assert!(rest.contains(&format!("id: {}\n", last + 1)));
            assert!(rest.contains("id: 30\n"));
        }
    }

    #[test]
    fn a_client_that_claims_more_than_all_events_gets_the_end() {
        let reply = FEED.reply(0, usize::MAX, 1);
        assert_eq!((text(&reply).as_str(), reply.end), ("retry: 50\n", End::Hold));
    }

    #[test]
    fn a_seed_determines_the_cuts() {
        let cuts = |seed| (0..6).map(move |index| text(&FEED.reply(index, 0, seed)).len());
        assert!(cuts(1).eq(cuts(1)));
        assert!(!cuts(1).eq(cuts(2)));
    }
}
