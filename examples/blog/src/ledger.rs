//! What a reader may have seen: every page served must be, letter for letter, the page as it stood in the
//! database at some moment between the request's beginning and its end.
//!
//! Posts do not change during a run and comments are only added, in the order of their ids. So the states
//! a page goes through are: its original comments, then one more, and one more. A reader's page must be
//! one of the states that were possible while the reader waited: with every comment whose writer had been
//! told "stored" before the reader asked, and with none that was sent after the reader had the answer.

use std::collections::HashMap;
use std::time::Instant;

use crate::blog::{CommentId, PostId};
use crate::content::{Comment, Content};
use crate::driver::{Answer, Fingerprint, Visit};
use crate::render;
use crate::trace::Request;

pub(crate) struct Ledger<'a> {
    content: &'a Content,
    originals: HashMap<PostId, Vec<&'a Comment>>,
    written: HashMap<PostId, Vec<Written<'a>>>,
    /// Of each state of each post, once it was needed.
    fingerprints: HashMap<(PostId, usize), Option<Fingerprint>>,
}

/// A comment that the run added.
struct Written<'a> {
    comment: &'a Comment,
    sent: Instant,
    /// `None` when its writer never heard of success: it may be stored all the same.
    acknowledged: Option<Instant>,
}

impl<'a> Ledger<'a> {
    /// `stored` are all comments in the database after the run, in the order of their ids. What is wrong
    /// with them is added to `faults`.
    pub(crate) fn new(
        content: &'a Content,
        visits: &[Visit],
        stored: &'a [Comment],
        faults: &mut Vec<String>,
    ) -> Self {
        let mut ledger = Self {
            content,
            originals: HashMap::new(),
            written: HashMap::new(),
            fingerprints: HashMap::new(),
        };
        for comment in &content.comments {
            ledger.originals.entry(comment.post).or_default().push(comment);
        }
        let (old, new) = stored.split_at(content.comments.len().min(stored.len()));
        if *old != content.comments {
            faults.push("the comments that were there before the run have changed".to_owned());
        }
        ledger.enter(visits, new, faults);
        ledger
    }

    fn enter(&mut self, visits: &[Visit], new: &'a [Comment], faults: &mut Vec<String>) {
        let mut sent: HashMap<&str, &Visit> = HashMap::new();
        for visit in visits {
            if let Request::Comment { text, .. } = &visit.request {
                sent.insert(text, visit);
            }
        }
        for comment in new {
            match sent.remove(comment.text.as_str()).filter(|visit| explains(visit, comment)) {
                Some(visit) => self.written.entry(comment.post).or_default().push(Written {
                    comment,
                    sent: visit.began,
                    acknowledged: matches!(visit.answer, Answer::Comment(_)).then_some(visit.ended),
                }),
                None => faults.push(format!("stored comment {} is not as anybody sent it", comment.id.0)),
            }
        }
        for visit in sent.values() {
            if let Answer::Comment(CommentId(id)) = visit.answer {
                faults.push(format!("comment {id} was acknowledged and is not stored"));
            }
        }
    }

    /// What is wrong with what this reader saw, if anything.
    pub(crate) fn fault(&mut self, visit: &Visit) -> Option<String> {
        let Request::View(post) = visit.request else {
            return None;
        };
        let Answer::Page(served) = visit.answer else {
            return (visit.answer == Answer::NoPage)
                .then(|| format!("post {} was said not to exist", post.0));
        };
        let (least, most) = self.possible(post, visit.began, visit.ended);
        if (least..=most).any(|added| self.fingerprint(post, added) == Some(served)) {
            return None;
        }
        let also =
            (0..=self.written_to(post).len()).find(|&added| self.fingerprint(post, added) == Some(served));
        Some(match also {
            Some(added) if added < least => {
                format!("a page of post {} lacked {} acknowledged comments", post.0, least - added)
            }
            Some(added) => {
                format!("a page of post {} showed {} comments of the future", post.0, added - most)
            }
            None => format!("a page of post {} never stood like this in the database", post.0),
        })
    }

    /// The least and the most added comments that a page of `post` may have shown between two moments.
    fn possible(&self, post: PostId, began: Instant, ended: Instant) -> (usize, usize) {
        let written = self.written_to(post);
        let known = |written: &Written<'_>| written.acknowledged.is_some_and(|at| at <= began);
        let least = written.iter().rposition(known).map_or(0, |last| last + 1);
        let most = written.iter().take_while(|written| written.sent <= ended).count();
        (least, most)
    }

    fn written_to(&self, post: PostId) -> &[Written<'a>] {
        self.written.get(&post).map_or(&[], Vec::as_slice)
    }

    fn fingerprint(&mut self, post: PostId, added: usize) -> Option<Fingerprint> {
        if let Some(&known) = self.fingerprints.get(&(post, added)) {
            return known;
        }
        let originals = self.originals.get(&post).into_iter().flatten().copied();
        let added_comments = self.written_to(post)[..added].iter().map(|written| written.comment);
        let page = self.content.page(post, originals.chain(added_comments));
        let fingerprint = page.map(|page| Fingerprint::of(&render::html(&page)));
        self.fingerprints.insert((post, added), fingerprint);
        fingerprint
    }
}

/// Whether this request is where the stored comment came from.
fn explains(visit: &Visit, stored: &Comment) -> bool {
    let Request::Comment { post, author, text } = &visit.request else {
        return false;
    };
    let same_id = match visit.answer {
        Answer::Comment(id) => id == stored.id,
        _ => true,
    };
    same_id && (*post, *author, text) == (stored.post, stored.author, &stored.text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::blog::AuthorId;
    use crate::content::Size;

    const POST: PostId = PostId(1);

    struct Story {
        content: Content,
        start: Instant,
        visits: Vec<Visit>,
        stored: Vec<Comment>,
    }

    /// Times are whole seconds of a story that begins at 0.
    impl Story {
        fn new() -> Self {
            let content = Content::generate(Size { authors: 2, posts: 2, comments: 6 }, 1);
            let stored = content.comments.clone();
            Self { content, start: Instant::now(), visits: Vec::new(), stored }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn visit(&self, request: Request, from: u64, to: u64, answer: Answer) -> Visit {
            let (began, ended) = (self.at(from), self.at(to));
            Visit { request, scheduled: began, began, ended, answer }
        }

        fn comment(&self, text: &str) -> Comment {
            let id = CommentId(self.stored.len() as i64 + 1);
            let written_at = "now".to_owned();
            Comment { id, post: POST, author: AuthorId(1), text: text.to_owned(), written_at }
        }

        fn write(&mut self, text: &str, from: u64, to: u64, acknowledged: bool) {
            let comment = self.comment(text);
            let request = Request::Comment { post: POST, author: AuthorId(1), text: text.to_owned() };
            let answer = if acknowledged { Answer::Comment(comment.id) } else { Answer::Unanswered };
            self.visits.push(self.visit(request, from, to, answer));
            self.stored.push(comment);
        }

        /// A reader who sees the first `added` of the comments written so far.
        fn reader(&self, added: usize, from: u64, to: u64) -> Visit {
            let shown = &self.stored[..self.content.comments.len() + added];
            let page = self.content.page(POST, shown.iter().filter(|comment| comment.post == POST)).unwrap();
            let answer = Answer::Page(Fingerprint::of(&render::html(&page)));
            self.visit(Request::View(POST), from, to, answer)
        }

        fn faults(&self) -> Vec<String> {
            let mut faults = Vec::new();
            Ledger::new(&self.content, &self.visits, &self.stored, &mut faults);
            faults
        }

        fn judge(&self, visit: &Visit) -> Option<String> {
            let mut faults = Vec::new();
            let fault = Ledger::new(&self.content, &self.visits, &self.stored, &mut faults).fault(visit);
            assert_eq!(faults, Vec::<String>::new());
            fault
        }
    }

    #[test]
    fn a_reader_during_the_write_may_see_the_page_before_or_after_it() {
        let mut story = Story::new();
        story.write("hello", 10, 20, true);
        for (added, from, to) in
            [(0, 5, 8), (0, 5, 12), (1, 5, 12), (0, 12, 14), (1, 12, 14), (0, 15, 30), (1, 15, 30)]
        {
            assert_eq!(story.judge(&story.reader(added, from, to)), None, "{added} seen from {from} to {to}");
        }
        assert_eq!(story.judge(&story.reader(1, 20, 30)), None);
    }

    #[test]
    fn a_reader_who_came_after_the_acknowledgement_must_see_the_comment() {
        let mut story = Story::new();
        story.write("hello", 10, 20, true);
        let fault = story.judge(&story.reader(0, 21, 22)).unwrap();
        assert!(fault.contains("lacked 1 acknowledged"), "{fault}");
    }

    #[test]
    fn nobody_sees_a_comment_before_it_was_sent() {
        let mut story = Story::new();
        story.write("hello", 10, 20, true);
        let fault = story.judge(&story.reader(1, 5, 9)).unwrap();
        assert!(fault.contains("1 comments of the future"), "{fault}");
    }

    #[test]
    fn a_later_comment_brings_the_earlier_ones_along() {
        let mut story = Story::new();
        story.write("slow to be told", 10, 40, true);
        story.write("quick", 12, 14, true);
        // The second is known, so the first, which the database took before it, must be there as well.
        assert_eq!(story.judge(&story.reader(2, 15, 16)), None);
        assert!(story.judge(&story.reader(1, 15, 16)).is_some());
    }

    #[test]
    fn a_comment_nobody_was_told_about_may_show_or_not() {
        let mut story = Story::new();
        story.write("lost in the queue", 10, 20, false);
        assert_eq!(story.judge(&story.reader(0, 30, 31)), None);
        assert_eq!(story.judge(&story.reader(1, 30, 31)), None);
    }

    #[test]
    fn a_page_of_another_post_is_noticed() {
        let story = Story::new();
        let mut reader = story.reader(0, 1, 2);
        reader.request = Request::View(PostId(2));
        assert!(story.judge(&reader).unwrap().contains("never stood like this"));
        let nothing = story.visit(Request::View(POST), 1, 2, Answer::NoPage);
        assert!(story.judge(&nothing).unwrap().contains("said not to exist"));
    }

    #[test]
    fn lost_and_altered_comments_are_noticed() {
        let mut story = Story::new();
        story.write("hello", 10, 20, true);
        assert_eq!(story.faults(), Vec::<String>::new());

        let mut lost = story.stored.pop().unwrap();
        assert!(story.faults()[0].contains("acknowledged and is not stored"));

        lost.author = AuthorId(2);
        story.stored.push(lost);
        assert!(story.faults()[0].contains("not as anybody sent it"));

        story.stored[0].text.push('!');
        assert!(story.faults()[0].contains("have changed"));
    }
}
