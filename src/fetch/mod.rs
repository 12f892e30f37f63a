//! Fetches datasets and weights from the web, complete and checked: downloads that continue where
//! they stopped, archives unpacked with distrust, and the list of everything that can be fetched.
//!
//! `sweep fetch` and `sweep run --fetch` call it with names ([`find`]) and folders ([`Places`]);
//! it puts files where datasets and weights are looked for ([`Setting::get`]), tells how much of a
//! thing is there ([`Thing::state`]), and gives the command that gets what is missing
//! ([`missing_command`]).

pub mod licence;
pub mod places;
pub mod download;
pub mod archive;
pub mod dataset;
pub mod weights;
pub mod upsampler;
pub mod thing;
pub mod order;

pub use licence::Licence;
pub use order::{Order, missing_command};
pub use places::{Places, State};
pub use thing::{Error, Got, News, Setting, Thing, find, things};
