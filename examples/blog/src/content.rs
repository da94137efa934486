//! What the blog holds before its first reader comes: made from a seed, so that every version starts
//! from the same rows and the checks know every word that may appear on a page.

use std::iter::repeat_with;

use fastrand::Rng;

use crate::blog::{AuthorId, CommentId, PostId};
use crate::page::{Page, Remark};

/// How much of everything to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) authors: u32,
    pub(crate) posts: u32,
    pub(crate) comments: u32,
}

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) authors: Vec<Author>,
    pub(crate) posts: Vec<Post>,
    pub(crate) comments: Vec<Comment>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) id: AuthorId,
    pub(crate) name: String,
    pub(crate) bio: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) id: PostId,
    pub(crate) author: AuthorId,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) published_at: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) id: CommentId,
    pub(crate) post: PostId,
    pub(crate) author: AuthorId,
    pub(crate) text: String,
    pub(crate) written_at: String,
}

impl Content {
    pub(crate) fn generate(size: Size, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let authors = (1..=i64::from(size.authors)).map(|id| author(id, &mut rng)).collect();
        let posts = (1..=i64::from(size.posts)).map(|id| post(id, size, &mut rng)).collect();
        let comments = (1..=i64::from(size.comments)).map(|id| comment(id, size, &mut rng)).collect();
        Self { authors, posts, comments }
    }

    pub(crate) fn author(&self, id: AuthorId) -> Option<&Author> {
        self.authors.get(position(id.0)?)
    }

    pub(crate) fn post(&self, id: PostId) -> Option<&Post> {
        self.posts.get(position(id.0)?)
    }

    /// The page of a post under the given comments.
    pub(crate) fn page<'a>(&self, id: PostId, comments: impl Iterator<Item = &'a Comment>) -> Option<Page> {
        let post = self.post(id)?;
        let author = self.author(post.author)?;
        let remark = |comment: &Comment| {
            Some(Remark {
                id: comment.id,
                author: self.author(comment.author)?.name.clone(),
                text: comment.text.clone(),
                written_at: comment.written_at.clone(),
            })
        };
        Some(Page {
            title: post.title.clone(),
            body: post.body.clone(),
            published_at: post.published_at.clone(),
            author: author.name.clone(),
            bio: author.bio.clone(),
            remarks: comments.map(remark).collect::<Option<_>>()?,
        })
    }
}

/// Ids are given out from 1 without holes.
fn position(id: i64) -> Option<usize> {
    usize::try_from(id.checked_sub(1)?).ok()
}

fn author(id: i64, rng: &mut Rng) -> Author {
    let name = format!("{} {}", capital(&words(1, rng)), capital(&words(1, rng)));
    Author { id: AuthorId(id), name: format!("{name} <{id}>"), bio: words(rng.usize(8..20), rng) }
}

fn post(id: i64, size: Size, rng: &mut Rng) -> Post {
    Post {
        id: PostId(id),
        author: AuthorId(rng.i64(1..=i64::from(size.authors))),
        title: capital(&words(rng.usize(3..8), rng)),
        body: paragraphs(rng.usize(4..11), rng),
        published_at: moment(rng),
    }
}

/// Comments come in the order of their ids and fall on any post: the rows of one post lie all over the
/// table, as they do after a few years of a real blog.
fn comment(id: i64, size: Size, rng: &mut Rng) -> Comment {
    Comment {
        id: CommentId(id),
        post: PostId(rng.i64(1..=i64::from(size.posts))),
        author: AuthorId(rng.i64(1..=i64::from(size.authors))),
        text: remark(rng),
        written_at: moment(rng),
    }
}

/// What a reader says: some words, and now and then the characters that break a page that does not
/// escape them.
pub(crate) fn remark(rng: &mut Rng) -> String {
    let text = capital(&words(rng.usize(8..40), rng));
    match rng.u8(0..10) {
        0 => format!("{text} <script>alert(\"{text}\")</script>"),
        1 => format!("{text} & that's > nothing"),
        _ => text,
    }
}

fn paragraphs(count: usize, rng: &mut Rng) -> String {
    let paragraph = || capital(&words(rng.usize(40..120), rng)) + ".";
    repeat_with(paragraph).take(count).collect::<Vec<_>>().join("\n\n")
}

fn words(count: usize, rng: &mut Rng) -> String {
    let word = || WORDS[rng.usize(..WORDS.len())];
    repeat_with(word).take(count).collect::<Vec<_>>().join(" ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

fn moment(rng: &mut Rng) -> String {
    let (month, day) = (rng.u8(1..=12), rng.u8(1..=28));
    let (hour, minute, second) = (rng.u8(0..24), rng.u8(0..60), rng.u8(0..60));
    format!("2025-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

const WORDS: [&str; 48] = [
    "apple", "barley", "basket", "bread", "butter", "cellar", "cheese", "cherry", "cider", "clove",
    "cupboard", "dill", "dough", "early", "fennel", "fig", "flour", "garlic", "ginger", "grain", "harvest",
    "honey", "jar", "kettle", "ladle", "leek", "lemon", "lentil", "market", "millet", "mint", "mustard",
    "nutmeg", "oats", "olive", "onion", "oven", "pantry", "pepper", "plum", "quince", "rye", "saffron",
    "shelf", "spoon", "thyme", "vinegar", "walnut",
];

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { authors: 5, posts: 7, comments: 90 };

    #[test]
    fn the_same_seed_makes_the_same_blog() {
        let (one, two) = (Content::generate(SMALL, 3), Content::generate(SMALL, 3));
        assert_eq!(one.authors, two.authors);
        assert_eq!(one.posts, two.posts);
        assert_eq!(one.comments, two.comments);
        assert_ne!(one.posts, Content::generate(SMALL, 4).posts);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let content = Content::generate(SMALL, 3);
        assert!(content.posts.iter().all(|post| content.author(post.author).is_some()));
        assert!(content.comments.iter().all(|comment| content.author(comment.author).is_some()));
        assert!(content.comments.iter().all(|comment| content.post(comment.post).is_some()));
        assert_eq!(content.post(PostId(0)), None);
        assert_eq!(content.post(PostId(8)), None);
    }
}
