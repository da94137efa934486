//! `--crash`: the service in a process of its own, which is killed in the middle of the load and started again.
//!
//! | part | is |
//! |---|---|
//! | [`mod@app`] | the process, this program run as `url-shortener app` |
//! | [`pipe`] | what both say to each other, a line for each request and each answer |
//! | [`process`] | the process as the driver has it; killed, it leaves no request waiting |
//! | [`remote`] | the service as visitors meet it, whichever process it is in now |

mod app;
mod pipe;
mod process;
mod remote;

pub(crate) use app::{AppArgs, app};
pub(crate) use remote::Remote;
