//! What tests of a service, a store or a tier need: a store to watch, faults on command, a clock to move, and the
//! contracts of the seams as suites, and an explorer of protocols. Feature `testing`.

mod explorer;
mod fake_journal;
mod fake_store;
mod faulty;
mod gate;
mod shared_contract;
mod shared_server;
mod store_contract;
mod test_clock;
mod tier_contract;
mod transactional_contract;

pub use explorer::{Exploration, Model, Unfinished, Violation, explore};
#[doc(hidden)]
pub use fake_journal::FakeJournal;
pub use fake_store::{Call, FakeStore, Trouble};
pub use faulty::{Faults, Faulty};
pub use gate::Gate;
pub use shared_contract::merge_store_contract;
pub use shared_server::{SharedServer, SharedTier};
pub use store_contract::store_contract;
pub use test_clock::TestClock;
pub use tier_contract::tier_contract;
pub use transactional_contract::{batch, transactional_store_contract};
