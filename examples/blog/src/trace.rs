//! The trace: who asks for what, and when. It is drawn once, before anything runs, and every version is
//! given the same one.
//!
//! It is an *open loop*: readers do not wait for one another, so a slow answer does not delay the next
//! arrival. Posts are asked for by Zipf's law (the second most read post is read half as often as the
//! first, the third a third as often), arrivals are a Poisson process.

use std::time::Duration;

use fastrand::Rng;

use crate::blog::{AuthorId, PostId};
use crate::content::{Size, remark};

/// Of a hundred requests, how many write a comment; all others read a page.
pub(crate) const COMMENTS_IN_A_HUNDRED: u8 = 3;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// Counted from the start of the run.
    pub(crate) at: Duration,
    pub(crate) request: Request,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    View(PostId),
    Comment { post: PostId, author: AuthorId, text: String },
}

/// `requests` arrivals, `rate` of them a second on average.
pub(crate) fn draw(requests: usize, rate: f64, size: Size, seed: u64) -> Vec<Arrival> {
    let mut rng = Rng::with_seed(seed);
    let popular = Popularity::new(size.posts, &mut rng);
    let mut at = Duration::ZERO;
    let arrival = |number| {
        at += Duration::from_secs_f64(gap(rate, &mut rng));
        Arrival { at, request: request(number, &popular, size, &mut rng) }
    };
    (0..requests).map(arrival).collect()
}

/// The time to the next arrival of a Poisson process.
fn gap(rate: f64, rng: &mut Rng) -> f64 {
    // `f64()` may be 0 but is never 1, so the logarithm is finite.
    -(1.0 - rng.f64()).ln() / rate
}

fn request(number: usize, popular: &Popularity, size: Size, rng: &mut Rng) -> Request {
    let post = popular.post(rng);
    if rng.u8(..100) >= COMMENTS_IN_A_HUNDRED {
        return Request::View(post);
    }
    let author = AuthorId(rng.i64(1..=i64::from(size.authors)));
    // The number makes every text unique, so that a stored comment leads back to the request that wrote it.
    Request::Comment { post, author, text: format!("{} (request {number})", remark(rng)) }
}

/// Draws posts by Zipf's law with exponent 1.
struct Popularity {
    /// The posts, most popular first: a shuffle, or the oldest posts would always be the most read.
    posts: Vec<PostId>,
    /// `until[i]` is the weight of the posts up to and including the `i`th.
    until: Vec<f64>,
}

impl Popularity {
    fn new(posts: u32, rng: &mut Rng) -> Self {
        let mut order: Vec<_> = (1..=i64::from(posts)).map(PostId).collect();
        rng.shuffle(&mut order);
        let mut sum = 0.0;
        let weight = |rank: u32| {
            sum += 1.0 / f64::from(rank);
            sum
        };
        Self { posts: order, until: (1..=posts).map(weight).collect() }
    }

    fn post(&self, rng: &mut Rng) -> PostId {
        let all = self.until[self.until.len() - 1];
        let mark = rng.f64() * all;
        let rank = self.until.partition_point(|&until| until <= mark);
        // Rounding may push the mark onto the very end.
        self.posts[rank.min(self.posts.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const SIZE: Size = Size { authors: 20, posts: 1_000, comments: 0 };

    fn views(trace: &[Arrival]) -> HashMap<PostId, usize> {
        let mut views = HashMap::new();
        for arrival in trace {
            if let Request::View(post) = arrival.request {
                *views.entry(post).or_default() += 1;
            }
        }
        views
    }

    #[test]
    fn the_same_seed_draws_the_same_trace() {
        assert_eq!(draw(500, 100.0, SIZE, 5), draw(500, 100.0, SIZE, 5));
        assert_ne!(draw(500, 100.0, SIZE, 5), draw(500, 100.0, SIZE, 6));
    }

    #[test]
    fn few_posts_get_most_views() {
        let mut counts: Vec<_> = views(&draw(20_000, 100.0, SIZE, 5)).into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let share =
            |posts: usize| counts.iter().take(posts).sum::<usize>() * 100 / counts.iter().sum::<usize>();
        // By Zipf's law: H(1)/H(1000) = 13 %, H(100)/H(1000) = 69 %.
        assert!((11..=16).contains(&share(1)), "{} %", share(1));
        assert!((66..=73).contains(&share(100)), "{} %", share(100));
    }

    #[test]
    fn arrivals_come_in_order_at_the_asked_rate() {
        let trace = draw(20_000, 400.0, SIZE, 5);
        assert!(trace.is_sorted_by_key(|arrival| arrival.at));
        let seconds = trace[trace.len() - 1].at.as_secs_f64();
        assert!((48.0..52.0).contains(&seconds), "{seconds} s for 50 s worth of requests");
    }

    #[test]
    fn nearly_all_requests_are_views() {
        let trace = draw(20_000, 400.0, SIZE, 5);
        let share = views(&trace).values().sum::<usize>() * 100 / trace.len();
        assert!((96..=98).contains(&share), "{share} % views");
    }

    #[test]
    fn one_post_is_enough() {
        let size = Size { posts: 1, ..SIZE };
        assert_eq!(views(&draw(50, 400.0, size, 5)).len(), 1);
    }
}
