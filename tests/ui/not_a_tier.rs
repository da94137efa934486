//! Something that cannot keep copies, where a tier is wanted.
//~ ERROR: cannot keep copies: it is no `Tier<u64, String>`

use std::collections::HashMap;

fn main() {
    drop(larder::cache::<u64, String>().tier(HashMap::<u64, String>::new()));
}
