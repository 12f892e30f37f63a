//! Brings what is published on the web here, whole and checked: downloads that go on where they
//! were, archives unpacked as if they meant harm, and the one list of datasets and weights.
//!
//! `sweep fetch` and `sweep run --fetch` call it with names ([`find`]) and folders ([`Places`]);
//! out come files where datasets and weights are looked for ([`Setting::get`]), how much of a thing
//! is there ([`Thing::state`]), and the command that gets what is missing ([`missing_command`]).

pub mod licence;
pub mod places;
pub mod download;
pub mod archive;
pub mod dataset;
pub mod weights;
pub mod thing;
pub mod order;

pub use licence::Licence;
pub use order::{Order, missing_command};
pub use places::{Places, State};
pub use thing::{Error, Got, News, Setting, Thing, find, things};
