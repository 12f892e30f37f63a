//! What is published on the web and how it gets here, whole and checked: downloads that go on where
//! they were, archives unpacked as if they meant harm, and the catalogue of datasets and weights.

pub mod archive;
pub mod dataset;
pub mod download;
pub mod weights;
