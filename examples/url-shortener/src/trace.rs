//! Who asks for what: drawn once, before anything runs, and the same for the same seed.
//!
//! Links are followed by Zipf's law: the second most popular half as often as the first, the third a third as often. One
//! request in a hundred makes a link, which whoever made it then follows; one redirect in a hundred is to an id that
//! nobody has.

use fastrand::Rng;

/// How many redirects there are to one new link.
pub(crate) const REDIRECTS_TO_ONE_NEW: usize = 100;

const UNKNOWN_IN_A_HUNDRED: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// The link in this place.
    Follow(usize),
    /// One that is not there.
    FollowUnknown(u64),
    /// The link of this number; and then it is followed.
    CreateAndFollow(usize),
}

/// `redirects` of them, and one new link to a hundred.
pub(crate) fn draw(redirects: usize, links: usize, seed: u64) -> Vec<Request> {
    let mut rng = Rng::with_seed(seed);
    let popular = Popularity::new(links, &mut rng);
    (0..redirects).map(|number| request(number, &popular, &mut rng)).collect()
}

fn request(number: usize, popular: &Popularity, rng: &mut Rng) -> Request {
    if number % REDIRECTS_TO_ONE_NEW == REDIRECTS_TO_ONE_NEW / 2 {
        return Request::CreateAndFollow(number / REDIRECTS_TO_ONE_NEW);
    }
    if rng.u8(..100) < UNKNOWN_IN_A_HUNDRED {
        return Request::FollowUnknown(rng.u64(..));
    }
    Request::Follow(popular.place(rng))
}

/// Draws places by Zipf's law with exponent 1.
struct Popularity {
    /// The most popular first: a shuffle, or the oldest would always be the most popular.
    places: Vec<usize>,
    /// `until[i]` is the weight of the places up to and including the `i`th.
    until: Vec<f64>,
}

impl Popularity {
    fn new(places: usize, rng: &mut Rng) -> Self {
        let mut order: Vec<_> = (0..places).collect();
        rng.shuffle(&mut order);
        let mut sum = 0.0;
        let weight = |rank: usize| {
            sum += 1.0 / rank as f64;
            sum
        };
        Self { places: order, until: (1..=places).map(weight).collect() }
    }

    fn place(&self, rng: &mut Rng) -> usize {
        let all = self.until[self.until.len() - 1];
        let mark = rng.f64() * all;
        let rank = self.until.partition_point(|&until| until <= mark);
        // Rounding may push the mark onto the very end.
        self.places[rank.min(self.places.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_trace() {
        assert_eq!(draw(500, 100, 5), draw(500, 100, 5));
        assert_ne!(draw(500, 100, 5), draw(500, 100, 6));
    }

    #[test]
    fn one_in_a_hundred_makes_a_link_and_each_its_own() {
        let made: Vec<_> = draw(10_000, 100, 5)
            .into_iter()
            .filter_map(|request| match request {
                Request::CreateAndFollow(number) => Some(number),
                _ => None,
            })
            .collect();
        assert_eq!(made, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn few_links_get_most_clicks_and_some_ids_are_nobodys() {
        let (mut counts, mut unknown) = (HashMap::new(), 0);
        for request in draw(20_000, 1_000, 5) {
            match request {
                Request::Follow(place) => *counts.entry(place).or_insert(0) += 1,
                Request::FollowUnknown(_) => unknown += 1,
                Request::CreateAndFollow(_) => {}
            }
        }
        assert!((120..=290).contains(&unknown), "{unknown}");
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        // By Zipf's law: H(100)/H(1000) = 69 %.
        let share = counts.iter().take(100).sum::<usize>() * 100 / counts.iter().sum::<usize>();
        assert!((66..=73).contains(&share), "{share} %");
    }
}
