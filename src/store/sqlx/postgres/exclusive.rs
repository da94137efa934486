//! A connection that is returned to its pool on purpose only.

use std::ops::{Deref, DerefMut};

use ::sqlx::{Postgres, pool::PoolConnection};

/// Closed when dropped, unless it was given back before. Then the server rolls back what it was doing.
///
/// A future that is dropped between sending `BEGIN` and hearing of it leaves sqlx unaware that there is a transaction;
/// whoever gets that connection next would write into it, and nobody would commit.
pub(super) struct Exclusive {
    connection: PoolConnection<Postgres>,
    is_clean: bool,
}

impl Exclusive {
    pub(super) const fn new(connection: PoolConnection<Postgres>) -> Self {
        Self { connection, is_clean: false }
    }

    /// Returns it to its pool: no transaction is open.
    pub(super) fn give_back(mut self) {
        self.is_clean = true;
    }
}

impl Deref for Exclusive {
    type Target = PoolConnection<Postgres>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl DerefMut for Exclusive {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        if !self.is_clean {
            self.connection.close_on_drop();
        }
    }
}
