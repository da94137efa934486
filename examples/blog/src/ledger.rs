//! What a reader may have seen: every page served must be, letter for letter, the page as it stood in the
//! database at some moment between the request's beginning and its end.
//!
//! Posts do not change during a run and comments are only added, in the order of their ids. So the states
//! a page goes through are: its original comments, then one more, and one more. A reader's page must be
//! one of the states that were possible while the reader waited: with every comment whose writer had been
//! told "stored" before the reader asked, and with none that was sent after the reader had the answer.
//!
//! Where several processes answer, one may be behind what another has stored, but no longer than a *lag* that is known:
//! a writer must then have been told so much earlier. A page that only the lag excuses is *behind*, and counted. A writer
//! who has been told that Redis could not be, and has an old copy left, cannot speak for the others.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::blog::{CommentId, PostId};
use crate::content::{Comment, Content};
use crate::driver::{Answer, Fingerprint, Visit};
use crate::render;
use crate::trace::Request;

pub(crate) struct Ledger<'a> {
    content: &'a Content,
    originals: HashMap<PostId, Vec<&'a Comment>>,
    written: HashMap<PostId, Vec<Written<'a>>>,
    /// How much later than a writer its readers may be told.
    lag: Duration,
    /// Of each state of each post, once it was needed.
    fingerprints: HashMap<(PostId, usize), Option<Fingerprint>>,
}

/// What a reader saw, against the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// A page as it stood there meanwhile; or nothing to judge.
    True,
    /// A page as it stood there no longer ago than the lag.
    Behind,
    /// Something else, in words.
    Wrong(String),
}

/// A comment that the run added.
struct Written<'a> {
    comment: &'a Comment,
    sent: Instant,
    /// `None` when its writer never heard of success: it may be stored all the same. Or when a copy without it was left in
    /// Redis: until that is dropped, which the driver is not told of, it may be read.
    acknowledged: Option<Instant>,
}

impl<'a> Ledger<'a> {
    /// `stored` are all comments in the database after the run, in the order of their ids. What is wrong
    /// with them is added to `faults`.
    pub(crate) fn new(
        content: &'a Content,
        visits: &[Visit],
        stored: &'a [Comment],
        lag: Duration,
        faults: &mut Vec<String>,
    ) -> Self {
        let mut ledger = Self {
            content,
            lag,
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
            if let Some(CommentId(id)) = visit.answer.comment() {
                faults.push(format!("comment {id} was acknowledged and is not stored"));
            }
        }
    }

    pub(crate) fn judge(&mut self, visit: &Visit) -> Judgement {
        let Request::View(post) = visit.request else {
            return Judgement::True;
        };
        match visit.answer {
            Answer::Page(served) => self.judge_page(post, served, visit),
            Answer::NoPage => Judgement::Wrong(format!("post {} was said not to exist", post.0)),
            _ => Judgement::True,
        }
    }

    fn judge_page(&mut self, post: PostId, served: Fingerprint, visit: &Visit) -> Judgement {
        let now = self.least(post, visit.began, Duration::ZERO);
        let least = self.least(post, visit.began, self.lag);
        let most = self.most(post, visit.ended);
        if self.shown(post, now..=most, served).is_some() {
            return Judgement::True;
        }
        if self.shown(post, least..=most, served).is_some() {
            return Judgement::Behind;
        }
        let all = 0..=self.written_to(post).len();
        Judgement::Wrong(match self.shown(post, all, served) {
            Some(added) if added < least => {
                format!("a page of post {} lacked {} acknowledged comments", post.0, least - added)
            }
            Some(added) => {
                format!(
                    "a page of post {} showed {} comments of the future",
                    post.0,
                    added.saturating_sub(most)
                )
            }
            None => format!("a page of post {} never stood like this in the database", post.0),
        })
    }

    /// Which number of added comments, of those that would do, makes the page that was served.
    fn shown(
        &mut self,
        post: PostId,
        mut added: RangeInclusive<usize>,
        served: Fingerprint,
    ) -> Option<usize> {
        added.find(|&added| self.fingerprint(post, added) == Some(served))
    }

    /// The least added comments that a page asked for at this moment must show, when it may be so much behind.
    fn least(&self, post: PostId, began: Instant, lag: Duration) -> usize {
        let known = |written: &Written<'_>| written.acknowledged.is_some_and(|at| at + lag <= began);
        self.written_to(post).iter().rposition(known).map_or(0, |last| last + 1)
    }

    /// The most that a page answered at this moment may show.
    fn most(&self, post: PostId, ended: Instant) -> usize {
        self.written_to(post).iter().take_while(|written| written.sent <= ended).count()
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
    let same_id = visit.answer.comment().is_none_or(|id| id == stored.id);
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
            Ledger::new(&self.content, &self.visits, &self.stored, Duration::ZERO, &mut faults);
            faults
        }

        /// What is wrong with what this reader saw, if anything.
        fn judge(&self, visit: &Visit) -> Option<String> {
            match self.judge_with(visit, 0) {
                Judgement::True => None,
                Judgement::Behind => panic!("nothing is excused here"),
                Judgement::Wrong(fault) => Some(fault),
            }
        }

        fn judge_with(&self, visit: &Visit, lag: u64) -> Judgement {
            let (lag, mut faults) = (Duration::from_secs(lag), Vec::new());
            let judgement =
                Ledger::new(&self.content, &self.visits, &self.stored, lag, &mut faults).judge(visit);
            assert_eq!(faults, Vec::<String>::new());
            judgement
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
    fn a_page_may_be_behind_for_the_lag_and_no_longer() {
        let mut story = Story::new();
        story.write("hello", 10, 20, true);
        assert_eq!(story.judge_with(&story.reader(1, 21, 22), 3), Judgement::True);
        assert_eq!(story.judge_with(&story.reader(0, 22, 30), 3), Judgement::Behind);
        let fault = story.judge_with(&story.reader(0, 23, 30), 3);
        assert!(matches!(&fault, Judgement::Wrong(fault) if fault.contains("lacked 1")), "{fault:?}");
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
    fn a_comment_whose_old_copy_is_left_may_show_or_not_but_must_be_stored() {
        let mut story = Story::new();
        story.write("redis was away", 10, 20, true);
        story.visits[0].answer = Answer::CommentWithCopyLeft(story.stored[story.stored.len() - 1].id);
        assert_eq!(story.judge(&story.reader(0, 30, 31)), None);
        assert_eq!(story.judge(&story.reader(1, 30, 31)), None);
        story.stored.pop();
        assert!(story.faults()[0].contains("acknowledged and is not stored"));
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
