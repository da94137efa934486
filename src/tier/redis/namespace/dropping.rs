//! Dropping copies: all of a namespace or a tenant, wherever they are, and once more where they may have been forgotten.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use redis::Value as Answer;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::again::until_done;
use super::{Namespace, TOGETHER};
use crate::bounds::Value;
use crate::codec::{CacheKey, Codec};
use crate::error::Result;
use crate::tier::redis::Redis;
use crate::tier::redis::bus::Word;
use crate::tier::redis::fault::Fault;
use crate::tier::redis::keys::{self, Bucket, Name};
use crate::tier::redis::lanes::{Lanes, Server};
use crate::tier::redis::nodes::{Call, Nodes};
use crate::tier::redis::scripts::Name as Script;
use crate::time;

/// For how long the last invalidations are tried again at a server that has come back.
const RESEND: Duration = Duration::from_secs(60);

impl<V: Value, C: Codec<V>> Namespace<V, C> {
    /// Notices a server that was not there before, or has begun another life, and sends out the last invalidations again.
    pub(super) fn recognise(&self, server: &Server) {
        if !self.met.is_new(server.life) {
            return;
        }
        let names = self.recent.lock().names(Instant::now());
        let (Ok(runtime), false) = (Handle::try_current(), names.is_empty()) else { return };
        let (nodes, hold_off, announces) = (Arc::downgrade(&self.redis.0), self.hold_off(), self.announces());
        let ends = time::from_now(RESEND);
        // One that has just taken over may not serve at once.
        runtime.spawn(until_done(names, ends, async move |names| {
            invalidate_all(&nodes, names, &hold_off, announces).await
        }));
    }

    /// Remembers what was dropped, for a server that may forget it; copies of before count no more in this process.
    pub(super) fn note<K: CacheKey>(&self, keys: &[K]) {
        for key in keys {
            let name = self.name(key);
            self.drop_stripe_of(&name);
            self.remember(&name);
        }
    }

    pub(super) fn remember(&self, name: &Name) {
        self.recent.lock().note(name.redis.clone(), Instant::now());
    }

    /// Drops whatever has a name like `pattern`, and has all copies elsewhere asked about: some may be of keys that are not here
    /// any more.
    pub(super) async fn drop_and_tell(&self, pattern: &str) -> Result<()> {
        let dropped = self.drop_matching(pattern).await;
        self.tell_all().await?;
        Ok(dropped?)
    }

    /// Drops whatever has a name like `pattern`.
    async fn drop_matching(&self, pattern: &str) -> Result<(), Fault> {
        // A key that is moved from a node that was not looked at yet to one that was is found the second time.
        let rounds = if self.redis.0.are_many() { 2 } else { 1 };
        let mut dropped = Ok(());
        for _ in 0..rounds {
            for server in self.servers().await? {
                // One that is away keeps nobody from dropping what the others have.
                dropped = dropped.and(self.drop_matching_on(server, pattern).await);
            }
        }
        dropped
    }

    /// Every server that has keys of the namespace, or is being sent some. A node that gets its first slot is nobody's
    /// owner yet; whoever is asked for a key that is nowhere tells of it.
    async fn servers(&self) -> Result<Vec<Arc<Lanes>>, Fault> {
        let mut servers = self.redis.0.all().await?;
        if !self.redis.0.are_many() {
            return Ok(servers);
        }
        let told = join_all((0..keys::BUCKETS).map(|bucket| self.on_its_way_to(bucket)));
        for lanes in told.await.into_iter().flatten() {
            if !servers.iter().any(|known| Arc::ptr_eq(known, &lanes)) {
                servers.push(lanes);
            }
        }
        Ok(servers)
    }

    async fn on_its_way_to(&self, bucket: Bucket) -> Option<Arc<Lanes>> {
        let nobody = keys::name_of_nothing(&self.name, bucket);
        let mut get = redis::cmd("GET");
        get.arg(nobody);
        let mut call = self.redis.0.call(bucket).await.ok()?;
        let mut lanes = None;
        while let Err(Fault::Elsewhere(to)) = call.ask::<Answer>(&get).await {
            call = self.redis.0.follow(&call, Some(bucket), &to).await.ok()?;
            lanes = Some(Arc::clone(call.lanes()));
        }
        lanes
    }

    async fn drop_matching_on(&self, server: Arc<Lanes>, pattern: &str) -> Result<(), Fault> {
        let mut cursor = 0_u64;
        loop {
            let mut call = self.redis.0.call_to(Arc::clone(&server)).await?;
            let scan =
                redis::cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1_000).to_owned();
            let (next, names): (u64, Vec<Vec<u8>>) = call.ask(&scan).await?;
            let dropped = self.drop_names(&call, &names).await;
            // Not once all are dropped: that can take minutes, and whoever drops them may not live to see it.
            let buckets: BTreeSet<Bucket> = names.iter().filter_map(|name| keys::bucket_of(name)).collect();
            self.tell_of(buckets.into_iter()).await?;
            dropped?;
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    async fn drop_names(&self, call: &Call, names: &[Vec<u8>]) -> Result<(), Fault> {
        let hold_off = self.hold_off();
        for names in names.chunks(TOGETHER) {
            let _turn = self.redis.0.turn(names.len()).await;
            let drops =
                names.iter().map(|name| invalidate(&self.redis, Ok(call.clone()), name, &hold_off, false));
            join_all(drops).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        Ok(())
    }
}

/// Tries once to drop what has these names, and returns those whose server did not answer; none when nobody needs the
/// servers any more.
async fn invalidate_all(
    nodes: &Weak<Nodes>,
    names: Vec<String>,
    hold_off: &[u8],
    announces: bool,
) -> Vec<String> {
    let mut left = Vec::new();
    for name in names {
        let Some(nodes) = nodes.upgrade() else { return Vec::new() };
        let Some(bucket) = keys::bucket_of(name.as_bytes()) else { continue };
        let redis = Redis(nodes);
        let call = redis.0.call(bucket).await;
        if invalidate(&redis, call, name.as_bytes(), hold_off, announces).await.is_err() {
            left.push(name);
        }
    }
    left
}

async fn invalidate(
    redis: &Redis,
    call: Result<Call, Fault>,
    name: &[u8],
    hold_off: &[u8],
    announces: bool,
) -> Result<String, Fault> {
    let place = if announces { keys::place_of(name) } else { None };
    let word = place
        .map(|(namespace, bucket, stripe)| Word::of(namespace, bucket, Some(stripe), redis.0.are_many()));
    anywhere(redis, call, Script::Invalidate, name, &[hold_off], word.as_ref()).await
}

/// A script that says the same to every server.
pub(super) async fn anywhere<A: redis::FromRedisValue>(
    redis: &Redis,
    call: Result<Call, Fault>,
    script: Script,
    name: &[u8],
    arguments: &[&[u8]],
    word: Option<&Word>,
) -> Result<A, Fault> {
    let mut call = call?;
    loop {
        match call.run_and_tell(script, name, arguments, word).await {
            Err(Fault::Elsewhere(to)) => call = redis.0.follow(&call, keys::bucket_of(name), &to).await?,
            answer => return answer,
        }
    }
}
