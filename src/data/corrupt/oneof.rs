//! stub
use super::Severity;
use crate::data::{Mask, Rgb};
use crate::rng::ChaCha8Rng;
pub const PREFIX: &str = "reference_oneof_";
pub(super) fn one_of(_: Severity, (image, _): (&Rgb, &mut Mask), _: &mut ChaCha8Rng) -> Rgb {
    image.clone()
}
