//! Reading images and masks.
