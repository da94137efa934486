//! Room for bytes on their way out or in, used again.

use std::cell::RefCell;
use std::mem;
use std::ops::{Deref, DerefMut};

/// How many of them a thread keeps for later.
const MOST: usize = 8;
/// How big one may be that is kept: a big value now and then leaves nothing behind.
const BIGGEST: usize = 64 * 1024;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes in room that was used before, where there is some, and is used again afterwards.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty one.
    pub(crate) fn take() -> Self {
        let kept = KEPT.try_with(|kept| kept.try_borrow_mut().ok()?.pop());
        Self(kept.ok().flatten().unwrap_or_default())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = mem::take(&mut self.0);
        if !(1..=BIGGEST).contains(&bytes.capacity()) {
            return;
        }
        bytes.clear();
        // A thread that ends keeps nothing.
        _ = KEPT.try_with(|kept| {
            if let Ok(mut kept) = kept.try_borrow_mut()
                && kept.len() < MOST
            {
                kept.push(bytes);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again() {
        let mut first = Buffer::take();
        first.extend_from_slice(&[1; 1000]);
        let place = first.as_ptr();
        drop(first);
        let second = Buffer::take();
        assert_eq!((second.as_ptr(), second.len()), (place, 0), "and it is empty");
    }

    #[test]
    fn a_thread_keeps_few_and_small_ones() {
        drop(Buffer(vec![0; BIGGEST + 1]));
        drop((0..50).map(|_| Buffer(vec![0; 1000])).collect::<Vec<_>>());
        KEPT.with(|kept| {
            assert_eq!(kept.borrow().len(), MOST);
            assert!(kept.borrow().iter().all(|room| room.capacity() <= BIGGEST));
        });
    }
}
