//! The list of posts, newest first, a page at a time.

use crate::blog::PostId;

/// How many posts a page of the list shows.
pub(crate) const POSTS: u32 = 20;

/// Names a page of the list, from 1. A key of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageNumber(pub(crate) u32);

impl PageNumber {
    /// The page on which a post stands that `newer` posts are newer than.
    pub(crate) fn after(newer: u32) -> Self {
        Self(newer / POSTS + 1)
    }

    /// How many posts stand on the pages before this one.
    pub(crate) fn skipped(self) -> u32 {
        self.0.saturating_sub(1).saturating_mul(POSTS)
    }
}

/// How many pages `posts` posts fill. An empty list is one page.
pub(crate) fn pages(posts: u32) -> u32 {
    posts.div_ceil(POSTS).max(1)
}

/// A page of the list. It does not say how many comments a post has: each comment would then change the list as
/// well, and a copy of it would hardly live to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) headlines: Vec<Headline>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Headline {
    pub(crate) post: PostId,
    pub(crate) title: String,
    pub(crate) author: String,
    pub(crate) published_at: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_post_stands_on_one_page() {
        assert_eq!([0, 1, 20, 21, 40].map(pages), [1, 1, 1, 2, 2]);
        assert_eq!([0, 19, 20, 39, 40].map(|newer| PageNumber::after(newer).0), [1, 1, 2, 2, 3]);
        assert_eq!([1, 2, 3].map(|number| PageNumber(number).skipped()), [0, 20, 40]);
    }
}
