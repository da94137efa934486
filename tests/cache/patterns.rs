//! What caches kept by hand get wrong, as `docs/patterns.md` tells it: each race and each slip is forced here, by hand,
//! where it goes wrong, and with larder, where it does not.

#![allow(clippy::unwrap_used, reason = "the code by hand is the guide's, and short")]

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use larder::testing::{Call, FakeStore, TestClock, Trouble};
use larder::{Builder, ErrorKind, FunctionCall, Loader, Local, Memory, Store, StoreError};

const HOUR: Duration = Duration::from_secs(3600);

/// A store of titles, with one row.
fn titles() -> FakeStore<u64, String> {
    FakeStore::with([(1, "old".to_owned())])
}

fn hour_long<K: larder::Key, V: larder::Value>(builder: Builder<K, V>) -> Builder<K, V> {
    builder.tier(Memory::with_capacity(10_000)).ttl(HOUR).clock(TestClock::new())
}

/// Runs `act` while a load has read its row and has not yet answered.
async fn during_a_load<V: larder::Value, A>(
    db: &FakeStore<u64, V>,
    load: impl Future<Output = A>,
    act: impl Future<Output = ()>,
) -> A {
    let gate = db.gate_after(Call::Load);
    let (answer, ()) = tokio::join!(load, async {
        gate.arrived(1).await;
        act.await;
        gate.open();
    });
    answer
}

/// Runs `act` while a save has been asked for and has not yet happened.
async fn before_a_save<V: larder::Value, A>(
    db: &FakeStore<u64, V>,
    save: impl Future<Output = A>,
    act: impl Future<Output = ()>,
) -> A {
    let gate = db.gate_before(Call::Save);
    let (answer, ()) = tokio::join!(save, async {
        gate.arrived(1).await;
        act.await;
        gate.open();
    });
    answer
}

mod cache_aside {
    use super::*;

    type Map = Mutex<HashMap<u64, String>>;
    type Db = FakeStore<u64, String>;

    async fn get(map: &Map, db: &Db, id: u64) -> Result<Option<String>, StoreError> {
        let copy = map.lock().unwrap().get(&id).cloned();
        if copy.is_some() {
            return Ok(copy);
        }
        let row = db.load(&id).await?;
        if let Some(row) = &row {
            map.lock().unwrap().insert(id, row.clone());
        }
        Ok(row)
    }

    async fn rename(map: &Map, db: &Db, id: u64, title: String) -> Result<(), StoreError> {
        db.save(&id, &title).await?;
        map.lock().unwrap().remove(&id);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_an_overtaken_row_is_kept() {
        let (map, db) = (Map::default(), titles());
        let write = async { rename(&map, &db, 1, "new".to_owned()).await.unwrap() };
        during_a_load(&db, get(&map, &db, 1), write).await.unwrap();
        assert_eq!(db.row(&1).as_deref(), Some("new"));
        assert_eq!(get(&map, &db, 1).await.unwrap().as_deref(), Some("old"), "for as long as the map likes");
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_it_is_not() -> larder::Result<()> {
        let db = titles();
        let posts = hour_long(larder::cache_aside(db.clone())).build()?;
        let write = async { _ = posts.put(&1, "new".to_owned()).await.unwrap() };
        during_a_load(&db, posts.get(&1), write).await?;
        assert_eq!(posts.get(&1).await?.as_deref(), Some("new"));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_a_write_that_lands_after_all_leaves_the_old_copy() {
        let (map, db) = (Map::default(), titles());
        get(&map, &db, 1).await.unwrap();
        db.next(Call::Save, Trouble::LandsLater(Duration::from_secs(1)));
        rename(&map, &db, 1, "new".to_owned()).await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(db.row(&1).as_deref(), Some("new"));
        assert_eq!(get(&map, &db, 1).await.unwrap().as_deref(), Some("old"));
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_it_leaves_none() -> larder::Result<()> {
        let db = titles();
        let posts = hour_long(larder::cache_aside(db.clone())).build()?;
        posts.get(&1).await?;
        db.next(Call::Save, Trouble::LandsLater(Duration::from_secs(1)));
        posts.put(&1, "new".to_owned()).await.unwrap_err();
        assert_eq!(posts.get(&1).await?.as_deref(), Some("old"), "it has not landed yet");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(posts.get(&1).await?.as_deref(), Some("new"), "the copies have gone once more");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_ten_readers_ask_ten_times() {
        let (map, db) = (Map::default(), titles());
        db.delay(Call::Load, Duration::from_millis(50));
        futures_util::future::join_all((0..10).map(|_| get(&map, &db, 1))).await;
        assert_eq!(db.loads(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_ten_readers_ask_once() -> larder::Result<()> {
        let db = titles();
        let posts = hour_long(larder::cache_aside(db.clone())).build()?;
        db.delay(Call::Load, Duration::from_millis(50));
        futures_util::future::join_all((0..10).map(|_| posts.get(&1))).await;
        assert_eq!(db.loads(), 1);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_what_is_not_there_is_asked_for_every_time() {
        let (map, db) = (Map::default(), titles());
        for _ in 0..100 {
            assert_eq!(get(&map, &db, 404).await.unwrap(), None);
        }
        assert_eq!(db.loads(), 100);
    }
}

mod not_found {
    use super::*;

    type Map = Mutex<HashMap<u64, Option<String>>>;
    type Db = FakeStore<u64, String>;

    async fn get(map: &Map, db: &Db, id: u64) -> Result<Option<String>, StoreError> {
        let copy = map.lock().unwrap().get(&id).cloned();
        if let Some(answer) = copy {
            return Ok(answer);
        }
        let row = db.load(&id).await?;
        map.lock().unwrap().insert(id, row.clone()); // `None` as well
        Ok(row)
    }

    async fn create(map: &Map, db: &Db, id: u64, title: String) -> Result<(), StoreError> {
        db.save(&id, &title).await?;
        map.lock().unwrap().remove(&id);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_a_new_row_stays_not_found() {
        let (map, db) = (Map::default(), Db::new());
        let write = async { create(&map, &db, 1, "new".to_owned()).await.unwrap() };
        during_a_load(&db, get(&map, &db, 1), write).await.unwrap();
        assert_eq!(get(&map, &db, 1).await.unwrap(), None, "and the database has it");
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_an_absence_is_remembered_and_gives_way() -> larder::Result<()> {
        let db = Db::new();
        let posts = hour_long(larder::cache_aside(db.clone())).absent_ttl(Duration::from_secs(60)).build()?;
        for _ in 0..100 {
            assert_eq!(posts.get(&404).await?, None);
        }
        assert_eq!(db.loads(), 1);
        let write = async { _ = posts.put(&1, "new".to_owned()).await.unwrap() };
        assert_eq!(
            during_a_load(&db, posts.get(&1), write).await?,
            None,
            "it asked before the row was there"
        );
        assert_eq!(posts.get(&1).await?.as_deref(), Some("new"));
        Ok(())
    }
}

mod falsy_values {
    use super::*;

    type Map = Mutex<HashMap<u64, u64>>;
    type Db = FakeStore<u64, u64>;

    async fn likes(map: &Map, db: &Db, id: u64) -> Result<u64, StoreError> {
        let copy = map.lock().unwrap().get(&id).copied().unwrap_or(0);
        if copy != 0 {
            return Ok(copy);
        }
        let likes = db.load(&id).await?.unwrap_or(0);
        map.lock().unwrap().insert(id, likes);
        Ok(likes)
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_a_zero_is_asked_for_every_time() {
        let (map, db) = (Map::default(), Db::with([(1, 0)]));
        for _ in 0..3 {
            assert_eq!(likes(&map, &db, 1).await.unwrap(), 0);
        }
        assert_eq!(db.loads(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_a_zero_is_a_value() -> larder::Result<()> {
        let db = Db::with([(1, 0)]);
        let likes = hour_long(larder::cache_aside(db.clone())).build()?;
        for _ in 0..3 {
            assert_eq!(likes.get(&1).await?, Some(0));
        }
        assert_eq!(db.loads(), 1);
        Ok(())
    }
}

mod joined_keys {
    use super::*;

    fn key(tenant: &str, document: &str) -> String {
        format!("{tenant}:{document}")
    }

    #[test]
    fn by_hand_one_tenant_reads_anothers_document() {
        let mut map = HashMap::new();
        map.insert(key("acme", "eu:plan"), "a secret of acme");
        assert_eq!(map.get(&key("acme:eu", "plan")), Some(&"a secret of acme"));
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_the_parts_of_a_key_stay_apart() -> larder::Result<()> {
        let documents = hour_long(larder::cache()).build()?;
        let key = |tenant: &str, document: &str| (tenant.to_owned(), document.to_owned());
        _ = documents.put(&key("acme", "eu:plan"), "a secret of acme").await?;
        assert_eq!(documents.get(&key("acme:eu", "plan")).await?, None);
        Ok(())
    }
}

mod no_bound {
    use super::*;

    type Map = Mutex<HashMap<String, String>>;

    async fn render(path: &str) -> String {
        format!("<h1>{path}</h1>")
    }

    async fn page(map: &Map, path: &str) -> String {
        let copy = map.lock().unwrap().get(path).cloned();
        if let Some(copy) = copy {
            return copy;
        }
        let page = render(path).await;
        map.lock().unwrap().insert(path.to_owned(), page.clone());
        page
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_every_address_ever_asked_for_stays() {
        let map = Map::default();
        for n in 0..10_000 {
            page(&map, &format!("/search?q={n}")).await;
        }
        assert_eq!(map.lock().unwrap().len(), 10_000);
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_there_is_room_for_as_many_as_was_said() -> larder::Result<()> {
        let pages = larder::cache().tier(Memory::with_capacity(100)).ttl(HOUR).build()?;
        let paths: Vec<String> = (0..10_000).map(|n| format!("/search?q={n}")).collect();
        for path in &paths {
            let load = || async { Ok::<_, io::Error>(Some(render(path).await)) };
            pages.get_or_load(path, load).await?;
        }
        let kept = paths.iter().filter(|path| pages.get_local(path) != Local::Unknown).count();
        assert!(
            (1..=1_000).contains(&kept),
            "{kept} copies; moka makes room some time after the bound is passed"
        );
        Ok(())
    }
}

mod before_the_commit {
    use super::*;

    type Map = Mutex<HashMap<u64, String>>;
    type Db = FakeStore<u64, String>;

    async fn rename(map: &Map, db: &Db, id: u64, title: String) -> Result<(), StoreError> {
        map.lock().unwrap().insert(id, title.clone());
        let committed = db.save(&id, &title).await;
        if committed.is_err() {
            map.lock().unwrap().remove(&id);
        }
        committed.map(|_| ())
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_a_reader_sees_what_never_was() {
        let (map, db) = (Map::default(), titles());
        db.next(Call::Save, Trouble::NotApplied);
        let mut seen = None;
        let look = async { seen = map.lock().unwrap().get(&1).cloned() };
        before_a_save(&db, rename(&map, &db, 1, "new".to_owned()), look).await.unwrap_err();
        assert_eq!((seen.as_deref(), db.row(&1).as_deref()), (Some("new"), Some("old")));
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_the_new_copy_is_overwritten_with_the_old_row() {
        let (map, db) = (Map::default(), titles());
        let read = async {
            let row = db.load(&1).await.unwrap().unwrap();
            map.lock().unwrap().insert(1, row);
        };
        let write = async { rename(&map, &db, 1, "new".to_owned()).await.unwrap() };
        during_a_load(&db, read, write).await;
        assert_eq!(map.lock().unwrap().get(&1).map(String::as_str), Some("old"));
        assert_eq!(db.row(&1).as_deref(), Some("new"));
    }

    /// Two writes of which the first takes its time in the database.
    async fn first_slow<A, B>(db: &Db, first: impl Future<Output = A>, second: impl Future<Output = B>) {
        db.delay(Call::Save, Duration::from_millis(100));
        tokio::join!(first, async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            db.delay(Call::Save, Duration::ZERO);
            second.await;
        });
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_two_writers_reach_copy_and_row_in_different_orders() {
        let (map, db) = (Map::default(), titles());
        let write = |title: &str| rename(&map, &db, 1, title.to_owned());
        first_slow(&db, write("first"), write("second")).await;
        assert_eq!(map.lock().unwrap().get(&1).map(String::as_str), Some("second"));
        assert_eq!(db.row(&1).as_deref(), Some("first"));
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_they_take_turns() -> larder::Result<()> {
        let db = titles();
        let posts = hour_long(larder::write_through(db.clone())).build()?;
        let write = |title: &str| posts.put(&1, title.to_owned());
        first_slow(&db, write("first"), write("second")).await;
        assert_eq!(posts.get_local(&1), Local::Value("second".to_owned()));
        assert_eq!(db.row(&1).as_deref(), Some("second"));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_a_reader_sees_what_the_store_has() -> larder::Result<()> {
        let db = titles();
        let posts = hour_long(larder::write_through(db.clone())).build()?;
        posts.get(&1).await?;
        db.next(Call::Save, Trouble::NotApplied);
        let mut seen = None;
        let look = async { seen = posts.get(&1).await.unwrap() };
        before_a_save(&db, posts.put(&1, "new".to_owned()), look).await.unwrap_err();
        assert_eq!(seen.as_deref(), Some("old"));
        assert_eq!(posts.get(&1).await?.as_deref(), Some("old"));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_the_new_copy_stays() -> larder::Result<()> {
        let db = titles();
        let posts = hour_long(larder::write_through(db.clone())).build()?;
        let write = async { _ = posts.put(&1, "new".to_owned()).await.unwrap() };
        during_a_load(&db, posts.get(&1), write).await?;
        assert_eq!(posts.get_local(&1), Local::Value("new".to_owned()));
        Ok(())
    }
}

mod before_the_transaction {
    use super::*;

    type Map = Mutex<HashMap<u64, String>>;
    type Db = FakeStore<u64, String>;

    async fn rename(map: &Map, db: &Db, id: u64, title: String) -> Result<(), StoreError> {
        map.lock().unwrap().remove(&id);
        db.save(&id, &title).await?;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_a_reader_in_between_brings_the_old_row_back() {
        let (map, db) = (Map::default(), titles());
        let read = async {
            let row = db.load(&1).await.unwrap().unwrap();
            map.lock().unwrap().insert(1, row);
        };
        before_a_save(&db, rename(&map, &db, 1, "new".to_owned()), read).await.unwrap();
        assert_eq!(map.lock().unwrap().get(&1).map(String::as_str), Some("old"));
        assert_eq!(db.row(&1).as_deref(), Some("new"));
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_the_copies_go_after_the_write() -> larder::Result<()> {
        let db = titles();
        let posts = hour_long(larder::cache_aside(db.clone())).build()?;
        let transaction = || async { db.save(&1, &"new".to_owned()).await };
        let read = async { _ = posts.get(&1).await.unwrap() };
        _ = before_a_save(&db, posts.write(&[1], transaction), read).await?;
        assert_eq!(posts.get(&1).await?.as_deref(), Some("new"));
        Ok(())
    }
}

mod double_delete {
    use super::*;

    type Map = Mutex<HashMap<u64, String>>;
    type Db = FakeStore<u64, String>;

    async fn rename(map: &Map, db: &Db, id: u64, title: String) -> Result<(), StoreError> {
        map.lock().unwrap().remove(&id);
        db.save(&id, &title).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        map.lock().unwrap().remove(&id);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_a_load_slower_than_the_delay_brings_the_old_row_back() {
        let (map, db) = (Map::default(), titles());
        let read = async {
            let row = db.load(&1).await.unwrap().unwrap();
            map.lock().unwrap().insert(1, row);
        };
        let write = async { rename(&map, &db, 1, "new".to_owned()).await.unwrap() };
        during_a_load(&db, read, write).await;
        assert_eq!(map.lock().unwrap().get(&1).map(String::as_str), Some("old"));
        assert_eq!(db.row(&1).as_deref(), Some("new"));
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_there_is_no_delay_to_be_slower_than() -> larder::Result<()> {
        let db = titles();
        let posts = hour_long(larder::cache_aside(db.clone())).build()?;
        let transaction = || async { db.save(&1, &"new".to_owned()).await };
        let write = async { _ = posts.write(&[1], transaction).await.unwrap() };
        during_a_load(&db, posts.get(&1), write).await?;
        assert_eq!(posts.get(&1).await?.as_deref(), Some("new"));
        Ok(())
    }
}

mod counting {
    use super::*;

    type Db = FakeStore<u64, u64>;

    async fn like(db: &Db, id: u64) -> Result<u64, StoreError> {
        let likes = db.load(&id).await?.unwrap_or(0) + 1;
        db.save(&id, &likes).await?;
        Ok(likes)
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_one_of_two_is_lost() {
        let db = Db::with([(1, 7)]);
        let gate = db.gate_after(Call::Load);
        let both_have_read = async {
            gate.arrived(2).await;
            gate.open();
        };
        let (one, two, ()) = tokio::join!(like(&db, 1), like(&db, 1), both_have_read);
        assert_eq!((one.unwrap(), two.unwrap(), db.row(&1)), (8, 8, Some(8)));
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_both_count() -> larder::Result<()> {
        let db = Db::with([(1, 7)]);
        let likes = hour_long(larder::write_through(db.clone())).build()?;
        let like = || likes.update(&1, |likes| Some(likes.unwrap_or(0) + 1));
        let wait_a_while = async { tokio::time::sleep(Duration::from_millis(100)).await };
        let both = async { tokio::try_join!(like(), like()) };
        let (one, two) = during_a_load(&db, both, wait_a_while).await?;
        assert_eq!((one.into_output(), two.into_output(), db.row(&1)), (Some(8), Some(9), Some(9)));
        Ok(())
    }
}

mod decorator {
    use super::*;

    type Map = Mutex<HashMap<String, String>>;

    async fn cached<F, Fut>(map: &Map, function: &str, arguments: &[&str], call: F) -> String
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = String>,
    {
        let key = format!("{function}({})", arguments.join(","));
        let copy = map.lock().unwrap().get(&key).cloned();
        if let Some(copy) = copy {
            return copy;
        }
        let answer = call().await;
        map.lock().unwrap().insert(key, answer.clone());
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_other_arguments_get_the_same_answer() {
        let map = Map::default();
        let one = cached(&map, "find", &["a,b"], || async { "what is called `a,b`".to_owned() }).await;
        let two = cached(&map, "find", &["a", "b"], || async { "`a` of `b`".to_owned() }).await;
        assert_eq!(one, two);
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_another_function_of_the_name_gets_the_same_answer() {
        let map = Map::default();
        let user = cached(&map, "find", &["7"], || async { "a user".to_owned() }).await;
        let order = cached(&map, "find", &["7"], || async { "an order".to_owned() }).await;
        assert_eq!((user.as_str(), order.as_str()), ("a user", "a user"));
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_an_argument_is_what_it_is_and_a_name_is_taken_once() -> larder::Result<()> {
        async fn find((name, owner): (&'static str, &'static str)) -> io::Result<String> {
            Ok(format!("`{name}` of `{owner}`"))
        }
        let answers = hour_long(larder::cache()).build()?;
        let finding = answers.wrap("find", find)?;
        assert_eq!(finding.call(("a,b", "")).await?, "`a,b` of ``");
        assert_eq!(finding.call(("a", "b")).await?, "`a` of `b`");
        assert_eq!(answers.wrap("find", find).unwrap_err().kind(), ErrorKind::Settings);
        answers.invalidate(&FunctionCall::new("find", ("a", "b"))).await
    }
}

mod middleware {
    use super::*;

    type Map = Mutex<HashMap<String, Response>>;

    struct Request {
        url: String,
        user: String,
    }

    #[derive(Clone, Debug, PartialEq)]
    struct Response {
        status: u16,
        body: String,
    }

    /// The basket of whoever asks; of nobody, a failure.
    async fn handle(request: &Request) -> Response {
        match request.user.as_str() {
            "" => Response { status: 500, body: "the database does not answer".to_owned() },
            user => Response { status: 200, body: format!("the basket of {user}") },
        }
    }

    async fn respond(map: &Map, request: &Request) -> Response {
        let copy = map.lock().unwrap().get(&request.url).cloned();
        if let Some(copy) = copy {
            return copy;
        }
        let response = handle(request).await;
        map.lock().unwrap().insert(request.url.clone(), response.clone());
        response
    }

    fn request(user: &str) -> Request {
        Request { url: "/basket".to_owned(), user: user.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_one_user_gets_the_answer_to_another() {
        let map = Map::default();
        respond(&map, &request("Ann")).await;
        assert_eq!(respond(&map, &request("Bob")).await.body, "the basket of Ann");
    }

    #[tokio::test(start_paused = true)]
    async fn by_hand_a_failure_is_kept() {
        let map = Map::default();
        assert_eq!(respond(&map, &request("")).await.status, 500);
        assert_eq!(respond(&map, &request("Ann")).await.status, 500);
    }

    #[tokio::test(start_paused = true)]
    async fn with_larder_a_key_says_whose_and_a_failure_is_not_kept() -> larder::Result<()> {
        let baskets = hour_long(larder::cache()).build()?;
        let basket =
            |user: &'static str| async move { Ok::<_, io::Error>(Some(handle(&request(user)).await.body)) };
        let down = || async { Err::<Option<String>, _>(io::Error::other("the database does not answer")) };
        assert!(baskets.get_or_load(&("Ann", "/basket"), down).await.is_err());
        for user in ["Ann", "Bob"] {
            let body = baskets.get_or_load(&(user, "/basket"), || basket(user)).await?;
            assert_eq!(body, Some(format!("the basket of {user}")));
        }
        Ok(())
    }
}
