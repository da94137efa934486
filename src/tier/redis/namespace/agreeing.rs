//! Keeping the copies of other processes' memories in step with the namespace: marks for what is read, words for what is
//! dropped, and whether a copy elsewhere is still the one here.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use super::Namespace;
use crate::bounds::Value;
use crate::codec::Codec;
use crate::coherence::Mark;
use crate::tier::redis::bus::{Flaw, Member, Word};
use crate::tier::redis::fault::Fault;
use crate::tier::redis::keys::{self, Bucket, Name};
use crate::tier::redis::layout;
use crate::tier::redis::moment::millis;
use crate::tier::redis::scripts::Name as Script;
use crate::tier::{Agreement, Host, token};

/// How much of a slot tells which copy it has: the copy's head, or that of a lease and of the copy that it renews.
const HEAD: usize = 46 + 59;

impl<V: Value, C: Codec<V>> Namespace<V, C> {
    /// The cache wants to be kept in step, or says that it is not.
    pub(super) fn agree(&self, host: &Host) {
        let Some(Agreement { coherence, trust, has_copies }) = host.agreement() else { return };
        trust.adopt();
        if coherence.listens() && *has_copies {
            self.redis.0.bus().join(Member {
                namespace: std::sync::Arc::clone(&self.name),
                coherence: *coherence,
                trust: std::sync::Arc::clone(trust),
                host: host.clone(),
            });
        }
    }

    /// Has somebody listen, if somebody should and nobody does.
    pub(super) fn listen(&self) {
        self.redis.0.bus().see_to(&self.redis.0);
    }

    fn agreement(&self) -> Option<&Agreement> {
        self.host.get()?.agreement()
    }

    /// The mark of a copy that is about to be asked for, or made.
    pub(super) fn mark_of(&self, name: &Name) -> Mark {
        self.agreement().map_or(Mark::NONE, |agreement| {
            agreement.trust.mark_untracked(usize::from(name.bucket), usize::from(name.stripe()))
        })
    }

    /// The same of one that is asked for where the server remembers who asked.
    pub(super) fn tracked_mark_of(&self, name: &Name) -> Mark {
        self.agreement().map_or(Mark::NONE, |agreement| {
            agreement.trust.mark(usize::from(name.bucket), usize::from(name.stripe()))
        })
    }

    /// Whether the server should remember who asked for a name.
    pub(super) fn wants_tracking(&self, name: &Name) -> bool {
        self.agreement().is_some_and(|agreement| agreement.trust.is_tracked(usize::from(name.bucket)))
    }

    /// A mark as it is, or, where a test leaves that out, as it should have been before the question.
    pub(super) fn in_time(&self, mark: Mark, name: &Name) -> Mark {
        match mark.is_reached() && self.redis.0.bus().has(Flaw::LateMark) {
            true => self.tracked_mark_of(name),
            false => mark,
        }
    }

    /// Copies of a name count no more in this process, whatever is heard of it.
    pub(super) fn drop_stripe_of(&self, name: &Name) {
        if let Some(agreement) = self.agreement() {
            agreement.trust.drop_stripe(usize::from(name.bucket), usize::from(name.stripe()));
        }
    }

    /// Whether others are told what is dropped.
    pub(super) fn announces(&self) -> bool {
        self.agreement().is_some_and(|agreement| agreement.coherence.announces())
    }

    /// What is to be told when the key of a name is dropped, if anything.
    pub(super) fn word(&self, name: &Name) -> Option<Word> {
        self.word_of(name.bucket, Some(name.stripe()))
    }

    /// What is to be told when a load of the key of a name ends, if anything.
    pub(super) fn word_of_load(&self, name: &Name) -> Option<Word> {
        let is_cluster = self.redis.0.are_many();
        self.announces().then(|| Word::of_load(&self.name, name.bucket, name.stripe(), is_cluster))
    }

    /// Word of the end of another process' load, if there will be any: from now on, so ask once more before you wait.
    pub(super) async fn word_of_end(&self, name: &Name) -> Option<BoxFuture<'static, ()>> {
        let Agreement { trust, .. } = self.agreement()?;
        let bucket = usize::from(name.bucket);
        if !trust.is_trusted(bucket, self.now()) {
            return None; // Nobody listens.
        }
        let word = self.redis.0.bus().word_of(&self.name, name.bucket, name.stripe());
        if trust.is_tracked(bucket) {
            let mut look = redis::cmd("GETRANGE");
            look.arg(&name.redis).arg(0).arg(0);
            let (.., mark) = self.ask_patiently(name, &look).await.ok()?;
            return mark.is_reached().then(|| word.boxed());
        }
        let mut say = redis::cmd("SET");
        let waiting = keys::waiting_name(&self.name, name.bucket);
        say.arg(waiting).arg("1").arg("PX").arg(millis(self.lease).max(1));
        let mut call = self.call(name).await.ok()?;
        call.ask::<redis::Value>(&say).await.ok()?;
        Some(word.boxed())
    }

    pub(super) fn word_of(&self, bucket: Bucket, stripe: Option<u8>) -> Option<Word> {
        self.announces().then(|| Word::of(&self.name, bucket, stripe, self.redis.0.are_many()))
    }

    /// Tells that any key may have been dropped.
    pub(super) async fn tell_all(&self) -> Result<(), Fault> {
        self.tell_of(0..keys::BUCKETS).await
    }

    /// Tells that any key of these buckets may have been dropped.
    pub(super) async fn tell_of(&self, buckets: impl Iterator<Item = Bucket>) -> Result<(), Fault> {
        let words = buckets.filter_map(|bucket| Some((bucket, self.word_of(bucket, None)?)));
        let told = join_all(words.map(|(bucket, word)| async move {
            let nothing = keys::name_of_nothing(&self.name, bucket);
            let mut call = self.redis.0.call(bucket).await?;
            loop {
                match call.run_and_tell::<String>(Script::Tell, nothing.as_bytes(), &[], Some(&word)).await {
                    Err(Fault::Elsewhere(to)) => call = self.redis.0.follow(&call, Some(bucket), &to).await?,
                    answer => return answer.map(drop),
                }
            }
        }));
        told.await.into_iter().collect()
    }

    /// Whether the copy that was marked so is still here: its mark from now on. Only the head of the slot is asked for.
    pub(super) async fn revalidate(&self, name: &Name, mark: Mark) -> Result<Option<Mark>, Fault> {
        let mut head = redis::cmd("GETRANGE");
        head.arg(&name.redis).arg(0).arg(HEAD - 1);
        let (moment, answer, now) = match self.ask_patiently(name, &head).await {
            Err(Fault::Refused(code)) if code == "WRONGTYPE" => return Ok(None),
            answer => answer?,
        };
        let redis::Value::BulkString(bytes) = answer else { return Ok(None) };
        let Some(kept) = layout::copy(&bytes) else { return Ok(None) };
        let is_it = mark.is_of(kept.id.0) && token::incarnation(kept.id.0) == moment.incarnation;
        Ok(is_it.then(|| now.of_copy(kept.id.0)))
    }
}
